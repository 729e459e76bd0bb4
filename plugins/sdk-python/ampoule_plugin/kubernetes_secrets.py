"""The grant `kubernetesSecrets`. `wit/world.wit` must import it."""

import sys

from ._host import Err

if sys.platform == "wasi":
    from wit_world.imports import kubernetes_secrets as _secrets
else:
    from .testing import kubernetes_secrets as _secrets


class SecretError(Exception):
    """The Secret has no value: the message names it. The class of the reason is `denied`, `not-found` or
    `unavailable`."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def read(namespace: str, name: str, key: str) -> bytes:
    """Returns the current value of a key."""
    try:
        return _secrets.read(namespace, name, key)
    except Err as error:
        raise _error(error) from error


def exists(namespace: str, name: str, key: str) -> bool:
    """Whether a Secret exists and has this key."""
    try:
        return _secrets.exists(namespace, name, key)
    except Err as error:
        raise _error(error) from error


def _error(error: Err) -> SecretError:
    kinds = {"Denied": "denied", "NotFound": "not-found", "Unavailable": "unavailable"}
    return SecretError(kinds[type(error.value).__name__.removeprefix("LookupError_")], error.value.value)
