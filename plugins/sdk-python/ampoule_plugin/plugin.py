"""`Plugin`, and its export as the classes of a component."""

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from ._host import Err, Level, log
from .reasons import Internal, Refusal
from .request import Pod, Request


@dataclass
class Value:
    """The value of a promise, with the store's name for its version, and the time for which it may be kept."""

    value: str | bytes
    version: str | None = None
    expires_in_seconds: int | None = None


class Plugin:
    """A secret backend. The host creates an object for each pod, and calls `configure` before `inject` or `fetch`."""

    name: ClassVar[str]
    version: ClassVar[str]
    deliveries: ClassVar[list[str]] = []
    """The supported deliveries: `env-var` and `file`."""
    serves_all: ClassVar[bool] = False
    """Whether the plugin looks nothing up, and therefore injects every request with a group and a key."""
    settings_schema: ClassVar[dict[str, Any]] = {}
    """The JSON Schema of the settings."""

    def configure(self, settings: dict[str, Any]) -> None:
        """Takes the settings. An exception rejects the plugin at load."""

    def inject(self, request: Request, pod: Pod) -> None:
        """Answers a request with edits, or raises the reason."""
        raise NotImplementedError

    def fetch(self, promise: str) -> str | bytes | Value:
        """Returns the value of a promise of the request, or raises the reason."""
        raise Internal("the plugin has no method fetch")

    def check(self) -> None:
        """Raises an exception if the configuration does not work, for example if a login fails."""


def export(create: Callable[[], Plugin]) -> tuple[type, type, type]:
    """Returns the classes `Injector`, `Fetcher` and `Lifecycle` of a component."""
    plugin = create()

    class Injector:
        def describe(self) -> str:
            description = {"name": plugin.name, "version": plugin.version, "deliveries": plugin.deliveries}
            description |= {"servesAll": plugin.serves_all, "settingsSchema": plugin.settings_schema}
            return json.dumps(description)

        def configure(self, settings: str) -> None:
            nonlocal plugin
            plugin = create()
            with _rejection():
                plugin.configure(json.loads(settings))

        def inject(self, pod: Any, request: Any) -> None:
            with _answer(request):
                plugin.inject(Request(request), Pod(pod))

    class Fetcher:
        def fetch(self, promise: Any) -> None:
            with _answer(promise):
                _set_value(promise, plugin.fetch(promise.text()))

    class Lifecycle:
        def check(self) -> None:
            with _rejection():
                plugin.check()

    return Injector, Fetcher, Lifecycle


def _set_value(promise: Any, found: str | bytes | Value) -> None:
    if not isinstance(found, Value):
        found = Value(found)
    if not isinstance(found.value, (str, bytes)):
        # The object itself can be a value.
        raise Internal(f"fetch must return str, bytes or Value, not {type(found.value).__name__}")
    if found.version is not None:
        promise.version(found.version)
    if found.expires_in_seconds is not None:
        promise.expires_in(found.expires_in_seconds)
    promise.value(found.value.encode() if isinstance(found.value, str) else found.value)


@contextmanager
def _answer(resource: Any) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        refusal.answer(resource)
    except Exception as error:
        for line in traceback.format_exc().splitlines():
            log(Level.ERROR, line)
        resource.internal(_public_text(error))


@contextmanager
def _rejection() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise Err(_text(error)) from error


def _public_text(error: Exception) -> str:
    """The text for the pod's author. A text of the host contains no value; the message of another error can."""
    if isinstance(error, Err):
        return _text(error)
    return f"the plugin failed ({type(error).__name__}); the log of the webhook has the reason"


def _text(error: Exception) -> str:
    """The message. An error of the host contains a text, or a variant with a text."""
    if isinstance(error, Err):
        return str(getattr(error.value, "value", error.value))
    if isinstance(error, (ValueError, Refusal)) and str(error):
        return str(error)
    # The message of a KeyError is only the key.
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
