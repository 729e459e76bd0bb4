"""The grant `kubernetesSecrets`. `wit/world.wit` must import it."""

import sys
from collections.abc import Iterable
from typing import Any

from ._host import Err
from .reasons import Refusal

if sys.platform == "wasi":
    try:
        from wit_world.imports import kubernetes_secrets as _secrets
    except ImportError as error:
        what = "ampoule:injector/kubernetes-secrets"
        raise ImportError(f"Secrets are not available: the plugin needs the import {what} in wit/world.wit") from error
else:
    from .testing import kubernetes_secrets as _secrets


class SecretError(Refusal):
    """The Secret has no value: the message names it. The class of the reason is `denied`, `not-found` or
    `unavailable`.

    The pod's author cannot fix the plugin's credentials, so an exception that is not caught is `internal`, or
    `unavailable` if a retry helps.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason

    def answer(self, resource: Any) -> None:
        if self.reason == "unavailable":
            resource.unavailable(str(self), None)
        else:
            resource.internal(str(self))


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


def first_existing(keys: Iterable[tuple[str, str, str]]) -> int | None:
    """Returns the position of the first key that exists: a key is a namespace, a name and a key of the Secret.

    The host asks for up to four of them at the same time.
    """
    try:
        return _secrets.first_existing([_secrets.SecretKey(*key) for key in keys])
    except Err as error:
        raise _error(error) from error


def _error(error: Err) -> SecretError:
    kinds = {"Denied": "denied", "NotFound": "not-found", "Unavailable": "unavailable"}
    return SecretError(kinds[type(error.value).__name__.removeprefix("LookupError_")], error.value.value)
