"""Runs a plugin without WebAssembly. The fake host records the calls and checks only the names of variables:
`ampoule plugin test` checks the rest.

    from ampoule_plugin import testing
    from app import Fetcher, Injector

    answer = testing.inject(Injector, request={"group": "database", "key": "password"})
    assert answer.edits == [("set_env_from_secret", "PASSWORD", "database", "password", False)]
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

_E = TypeVar("_E")


@dataclass
class Host:
    """The data of the fake host."""

    conventions: dict[str, str] = field(
        default_factory=lambda: {
            "profile": "flyte-v1",
            "env_prefix": "_FSEC_",
            "mount_directory": "/etc/flyte/secrets",
        }
    )
    log: list[str] = field(default_factory=list)
    """The lines of the log, such as `error: text`."""
    cache: dict[str, bytes] = field(default_factory=dict)
    secrets: dict[str, bytes] = field(default_factory=dict)
    """The values of `kubernetes_secrets`, by `namespace/name/key`."""
    http: Callable[[str, str, dict[str, str], bytes], Any] | None = None
    """Answers the requests of `http`: method, URL, headers, body."""

    def reset(self) -> None:
        self.__init__()


host = Host()


@dataclass
class Answer:
    """The answer to a request. Each edit is the name of the method and its arguments."""

    edits: list[tuple[Any, ...]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    reason: str | None = None
    text: str | None = None
    retry_after_seconds: int | None = None


@dataclass
class Fetched:
    """The answer to a promise."""

    value: bytes | None = None
    version: str | None = None
    expires_in_seconds: int | None = None
    reason: str | None = None
    text: str | None = None
    retry_after_seconds: int | None = None


def inject(
    injector: type, *, settings: dict[str, Any] = {}, request: dict[str, Any] = {}, pod: dict[str, Any] = {}
) -> Answer:
    """Configures the plugin and sends it a request."""
    answer = Answer()
    injector().configure(json.dumps(settings))
    injector().inject(_Pod(pod), _Request(request, answer))
    if answer.reason:
        answer.edits = []
    return answer


def fetch(injector: type, fetcher: type, promise: str, *, settings: dict[str, Any] = {}) -> Fetched:
    """Configures the plugin and lets it fetch the value of a promise."""
    answer = Fetched()
    injector().configure(json.dumps(settings))
    fetcher().fetch(_Promise(promise, answer))
    return answer


# The modules of the host.


@dataclass(frozen=True)
class Err(Generic[_E], Exception):
    """The error of a call, as in a component."""

    value: _E


class Delivery(Enum):
    ANY = 0
    ENV_VAR = 1
    FILE = 2


class InitContainerPosition(Enum):
    FIRST = 0
    LAST = 1


class Level(Enum):
    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3


conventions = SimpleNamespace(
    profile=lambda: host.conventions["profile"],
    env_prefix=lambda: host.conventions["env_prefix"],
    mount_directory=lambda: host.conventions["mount_directory"],
)


def log(level: Level, message: str) -> None:
    host.log.append(f"{level.name.lower()}: {message}")


def cache_get(key: str) -> bytes | None:
    return host.cache.get(key)


def cache_set(key: str, value: bytes, ttl_seconds: int) -> None:
    host.cache[key] = value


@dataclass
class LookupError_NotFound:
    value: str


def _read(namespace: str, name: str, key: str) -> bytes:
    found = host.secrets.get(f"{namespace}/{name}/{key}")
    if found is None:
        raise Err(LookupError_NotFound(f"Secret {namespace}/{name} does not exist or has no key {key}"))
    return found


def _exists(namespace: str, name: str, key: str) -> bool:
    return f"{namespace}/{name}/{key}" in host.secrets


@dataclass
class SecretKey:
    namespace: str
    name: str
    key: str


def _first_existing(keys: list[SecretKey]) -> int | None:
    found = (position for position, key in enumerate(keys) if _exists(key.namespace, key.name, key.key))
    return next(found, None)


kubernetes_secrets = SimpleNamespace(
    read=_read, exists=_exists, first_existing=_first_existing, SecretKey=SecretKey
)


def http(method: str, url: str, headers: dict[str, str], body: bytes) -> Any:
    if host.http is None:
        raise AssertionError(f"unexpected request {method} {url}: set testing.host.http")
    return host.http(method, url, headers, body)


class _Recorder:
    """A builder that records its calls."""

    def __init__(self, kind: str, *words: Any) -> None:
        self.calls: list[tuple[Any, ...]] = [(kind, *words)]

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *words: self.calls.append((name, *words))


class Volume(_Recorder):
    """A volume, which a static method creates."""


for _kind in ("secret", "memory", "csi", "service_account_token", "json"):
    setattr(Volume, _kind, staticmethod(lambda *words, _kind=_kind: Volume(_kind, *words)))


class InitContainer(_Recorder):
    def __init__(self, name: str, image: str) -> None:
        super().__init__("init_container", name, image)


class _Reasons:
    """The first reason counts."""

    _answer: Any

    def _give(self, reason: str, text: str, retry_after_seconds: int | None = None) -> None:
        if self._answer.reason is None:
            self._answer.reason, self._answer.text = reason, text
            self._answer.retry_after_seconds = retry_after_seconds


for _reason in ("not_found", "unsupported", "invalid", "denied", "unavailable", "internal"):
    setattr(_Reasons, _reason, lambda self, *words, _reason=_reason: self._give(_reason, *words))


class _Request(_Reasons):
    def __init__(self, request: dict[str, Any], answer: Answer) -> None:
        self._request, self._answer = request, answer

    def group(self) -> str:
        return self._request.get("group", "")

    def group_version(self) -> str:
        return self._request.get("group_version", "")

    def key(self) -> str:
        return self._request.get("key", "")

    def deliver_as(self) -> Delivery:
        return self._request.get("deliver_as", Delivery.ANY)

    def env_var(self) -> str | None:
        return self._request.get("env_var")

    def all_keys(self) -> bool:
        return self._request.get("all_keys", False)

    def options(self) -> list[tuple[str, str]]:
        return sorted(self._request.get("options", {}).items())

    def discard_edits(self) -> None:
        self._answer.edits = []

    def warn(self, text: str) -> None:
        self._answer.warnings.append(text)

    def _edit(self, name: str, *words: Any) -> None:
        if name.startswith("set_env") and not re.fullmatch("[ -<>-~]+", words[0]):
            raise Err(f"{words[0]} is not a name of a variable")
        self._answer.edits.append((name, *words))


for _edit in (
    "set_env",
    "set_env_from_secret",
    "set_env_from_promise",
    "write_file_from_secret",
    "write_file_from_promise",
    "pull_secret_from_promise",
    "add_volume",
    "mount",
    "add_init_container",
    "set_annotation",
    "add_image_pull_secret",
):
    setattr(_Request, _edit, lambda self, *words, _edit=_edit: self._edit(_edit, *words))


class _Promise(_Reasons):
    def __init__(self, text: str, answer: Fetched) -> None:
        self._text, self._answer = text, answer

    def text(self) -> str:
        return self._text

    def value(self, value: bytes) -> None:
        self._answer.value = value

    def version(self, text: str) -> None:
        self._answer.version = text

    def expires_in(self, seconds: int) -> None:
        self._answer.expires_in_seconds = seconds


class _Pod:
    def __init__(self, pod: dict[str, Any]) -> None:
        self._pod = pod

    def namespace(self) -> str:
        return self._pod.get("namespace", "default")

    def name(self) -> str:
        return self._pod.get("name", "pod")

    def service_account(self) -> str:
        return self._pod.get("service_account", "")

    def operating_system(self) -> str | None:
        return self._pod.get("operating_system")

    def labels(self) -> list[tuple[str, str]]:
        return sorted(self._pod.get("labels", {}).items())

    def annotations(self) -> list[tuple[str, str]]:
        return sorted(self._pod.get("annotations", {}).items())

    def label(self, key: str) -> str | None:
        return self._pod.get("labels", {}).get(key)

    def annotation(self, key: str) -> str | None:
        return self._pod.get("annotations", {}).get(key)

    def containers(self) -> list[str]:
        return list(self._pod.get("containers", {"main": None}))

    def init_containers(self) -> list[str]:
        return list(self._pod.get("init_containers", {}))

    def image(self, container: str) -> str | None:
        return (self._pod.get("init_containers", {}) | self._pod.get("containers", {})).get(container)
