"""The pod, and the request with its edits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._host import Delivery, Err, InitContainer, Volume
from .reasons import Invalid


class Pod:
    """The pod. Every property is a call of the host."""

    def __init__(self, host: Any) -> None:
        self._host = host

    @property
    def namespace(self) -> str:
        return self._host.namespace()

    @property
    def name(self) -> str:
        return self._host.name()

    @property
    def service_account(self) -> str:
        return self._host.service_account()

    @property
    def operating_system(self) -> str | None:
        return self._host.operating_system()

    @property
    def labels(self) -> dict[str, str]:
        return dict(self._host.labels())

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self._host.annotations())

    @property
    def containers(self) -> list[str]:
        return self._host.containers()

    @property
    def init_containers(self) -> list[str]:
        return self._host.init_containers()

    def label(self, key: str) -> str | None:
        return self._host.label(key)

    def annotation(self, key: str) -> str | None:
        return self._host.annotation(key)

    def image(self, container: str) -> str | None:
        return self._host.image(container)


class Request:
    """A requested secret. An edit that is not valid raises `Invalid`."""

    def __init__(self, host: Any) -> None:
        self._host = host

    @property
    def group(self) -> str:
        return self._host.group()

    @property
    def group_version(self) -> str:
        return self._host.group_version()

    @property
    def key(self) -> str:
        return self._host.key()

    @property
    def deliver_as(self) -> Delivery:
        return self._host.deliver_as()

    @property
    def env_var(self) -> str | None:
        return self._host.env_var()

    @property
    def all_keys(self) -> bool:
        """Whether the pod requests every key. Answer with a volume of the whole Secret, or a promised file."""
        return self._host.all_keys()

    @property
    def options(self) -> dict[str, str]:
        """The options that the pod's author wrote for the plugin. A request with options fails if they are not read."""
        return dict(self._host.options())

    def set_env(self, name: str, value: str) -> None:
        _text(name=name, value=value)
        with _edit():
            self._host.set_env(name, value)

    def set_env_from_secret(self, name: str, *, secret: str, key: str, optional: bool = False) -> None:
        _text(name=name, secret=secret, key=key)
        with _edit():
            self._host.set_env_from_secret(name, secret, key, optional)

    def set_env_from_promise(self, name: str, promise: str) -> None:
        _text(name=name, promise=promise)
        with _edit():
            self._host.set_env_from_promise(name, promise)

    def write_file_from_secret(
        self, path: str, *, secret: str, key: str, mode: int | None = None, optional: bool = False
    ) -> None:
        """Writes a file, which every user may read without `mode`."""
        _text(path=path, secret=secret, key=key)
        with _edit():
            self._host.write_file_from_secret(path, secret, key, mode, optional)

    def write_file_from_promise(self, path: str, promise: str, *, mode: int | None = None) -> None:
        """Writes a file, which every user may read without `mode`."""
        _text(path=path, promise=promise)
        with _edit():
            self._host.write_file_from_promise(path, promise, mode)

    def pull_secret_from_promise(self, promise: str) -> None:
        _text(promise=promise)
        with _edit():
            self._host.pull_secret_from_promise(promise)

    def add_volume(self, name: str, volume: Volume) -> None:
        with _edit():
            self._host.add_volume(name, volume)

    def mount(self, volume: str, path: str, *, read_only: bool = True, sub_path: str | None = None) -> None:
        with _edit():
            self._host.mount(volume, path, read_only, sub_path)

    def add_init_container(self, container: InitContainer) -> None:
        with _edit():
            self._host.add_init_container(container)

    def set_annotation(self, key: str, value: str, *, must_own: bool = False) -> None:
        _text(key=key, value=value)
        with _edit():
            self._host.set_annotation(key, value, must_own)

    def add_image_pull_secret(self, name: str) -> None:
        _text(name=name)
        with _edit():
            self._host.add_image_pull_secret(name)

    def discard_edits(self) -> None:
        self._host.discard_edits()

    def warn(self, text: str) -> None:
        self._host.warn(text)


def _text(**arguments: Any) -> None:
    """Fails for an argument that is not a text. The host would trap without a place in the plugin."""
    for name, value in arguments.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} must be str, not {type(value).__name__}")


@contextmanager
def _edit() -> Iterator[None]:
    try:
        yield
    except Err as error:
        raise Invalid(error.value) from error
