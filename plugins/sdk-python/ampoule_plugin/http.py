"""The grant `http`: requests over HTTPS. `wit/world.wit` must import `wasi:http/outgoing-handler`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ._host import Err

if sys.platform == "wasi":
    from componentize_py_types import Ok
    from wit_world.imports import outgoing_handler, streams, types


class HttpError(Exception):
    """The request has no answer, for example because the grant does not list the host."""


@dataclass
class Response:
    """An answer, of any status. The names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def get(url: str, headers: Mapping[str, str] = {}) -> Response:
    """Sends a GET request."""
    return send("GET", url, headers)


def send(method: str, url: str, headers: Mapping[str, str] = {}, body: bytes = b"") -> Response:
    """Sends a request, and waits for the answer. The host does not follow redirects."""
    if sys.platform != "wasi":
        from .testing import http

        return http(method, url, dict(headers), body)
    try:
        return _receive(_send(method, url, headers, body))
    except Err as error:
        raise HttpError(_message(error.value)) from error


def _send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> "types.FutureIncomingResponse":
    parts = urlsplit(url)
    fields = types.Fields.from_list([(name, value.encode()) for name, value in headers.items()])
    request = types.OutgoingRequest(fields)
    request.set_method(types.Method_Other(method))
    request.set_scheme(types.Scheme_Https() if parts.scheme == "https" else types.Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    outgoing = request.body()
    future = outgoing_handler.handle(request, None)
    with outgoing.write() as stream:
        # The limit of one call is 4096 bytes.
        for start in range(0, len(body), 4096):
            stream.blocking_write_and_flush(body[start : start + 4096])
    types.OutgoingBody.finish(outgoing, None)
    return future


def _receive(future: "types.FutureIncomingResponse") -> Response:
    with future.subscribe() as ready:
        ready.block()
    outcome = future.get().value
    if not isinstance(outcome, Ok):
        raise outcome
    with outcome.value as response:
        headers = {name.lower(): value.decode("latin-1") for name, value in response.headers().entries()}
        body = bytearray()
        with response.consume() as incoming, incoming.stream() as stream:
            try:
                while True:
                    body += stream.blocking_read(1 << 16)
            except Err as error:
                if not isinstance(error.value, streams.StreamError_Closed):
                    raise
        return Response(response.status(), headers, bytes(body))


def _message(code: object) -> str:
    """`ErrorCode_HttpRequestDenied()` as `HttpRequestDenied`."""
    name = type(code).__name__.removeprefix("ErrorCode_")
    detail = getattr(code, "value", None)
    return f"{name}: {detail}" if detail else name
