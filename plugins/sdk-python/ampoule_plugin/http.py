"""The grant `http`: requests over HTTPS. `wit/world.wit` must import `wasi:http/outgoing-handler`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from ._host import Err
from .reasons import Invalid, Refusal

if sys.platform == "wasi":
    from componentize_py_types import Ok

    try:
        from wit_world.imports import outgoing_handler, streams, types
    except ImportError as error:
        what = "wasi:http/outgoing-handler"
        raise ImportError(f"http is not available: the plugin needs the import {what} in wit/world.wit") from error


class HttpError(Refusal):
    """The request has no answer. The message names the host, never a path, a header or a body.

    The class of the reason is `denied` (a mistake of the configuration or of the plugin) or `unavailable`. An exception
    that is not caught is `internal` or `unavailable`.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason

    def answer(self, resource: Any) -> None:
        if self.reason == "unavailable":
            resource.unavailable(str(self), None)
        else:
            resource.internal(str(self))


@dataclass
class Response:
    """An answer, of any status. The names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def url_segment(what: str, text: str) -> str:
    """Encodes a text of a pod, such as `request.key`, for one segment of a path. The message of `Invalid` contains
    `what`.

    Without it, a pod's author could choose another path of the store with `..`, `/`, `?` or `#`.
    """
    if text in ("", ".", ".."):
        raise Invalid(f'{what} "{text}" cannot be part of a URL: it must not be empty, `.` or `..`')
    return quote(text, safe="")


def get(url: str, headers: Mapping[str, str] = {}) -> Response:
    """Sends a GET request."""
    return send("GET", url, headers)


def send(method: str, url: str, headers: Mapping[str, str] = {}, body: bytes = b"") -> Response:
    """Sends a request, and waits for the answer. The host does not follow redirects."""
    if sys.platform != "wasi":
        from .testing import http

        return http(method, url, dict(headers), body)
    host = urlsplit(url).netloc
    try:
        return _receive(_send(method, url, headers, body))
    except Err as error:
        reason, text = _failure(error.value)
        # The texts of the host name the host.
        raise HttpError(reason, text if host.split(":")[0] in text else f"{host}: {text}") from error


def _send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> "types.FutureIncomingResponse":
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.netloc:
        raise HttpError("denied", "the URL must begin with https:// and a host")
    if not all("!" <= character <= "~" for character in url):
        raise HttpError("denied", f"{parts.netloc}: the URL is not valid: encode its parts with url_segment")
    fields = types.Fields.from_list([(name, value.encode()) for name, value in headers.items()])
    request = types.OutgoingRequest(fields)
    request.set_method(types.Method_Other(method))
    request.set_scheme(types.Scheme_Https())
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


# The texts are those of the SDK for Rust: the pod's author does not know the names of `wasi:http`.
_DENIED = {
    "HttpRequestDenied": "not in grants.http.hosts",
    "DestinationIpProhibited": "the name resolves to an address that plugins must not call",
    "HttpRequestMethodInvalid": "the method or the URL of the request is not valid",
    "HttpRequestUriInvalid": "the method or the URL of the request is not valid",
    "HttpRequestUriTooLong": "the method or the URL of the request is not valid",
}
_UNAVAILABLE = {
    "DnsError": "no address found",
    "DnsTimeout": "the look-up of its name took too long",
    "ConnectionRefused": "connection refused",
    "ConnectionLimitReached": "too many requests for one admission (limits.outboundCalls)",
    "ConnectionTimeout": "the host did not answer in time",
    "ConnectionReadTimeout": "the host did not answer in time",
    "ConnectionWriteTimeout": "the host did not answer in time",
    "HttpResponseTimeout": "the host did not answer in time",
    "ConnectionTerminated": "the host closed the connection",
    "TlsCertificateError": "its certificate is not trusted (grants.http.caFile)",
    "TlsProtocolError": "no TLS connection could be made",
    "HttpRequestBodySize": "the request is larger than the host allows",
    "HttpResponseBodySize": "the answer is larger than the host allows",
    "HttpResponseIncomplete": "the answer ends early",
    "StreamError_LastOperationFailed": "the answer ends early, or is larger than the host allows",
}


def _failure(code: Any) -> tuple[str, str]:
    """The class and the text of an error of the host."""
    name = type(code).__name__.removeprefix("ErrorCode_")
    if name in _DENIED:
        return "denied", _DENIED[name]
    if name == "InternalError" and getattr(code, "value", None):
        # A login that a retry can fix; the other texts are about the configuration or the plugin.
        return ("unavailable" if code.value.endswith("does not answer") else "denied"), code.value
    return "unavailable", _UNAVAILABLE.get(name, "the request failed")
