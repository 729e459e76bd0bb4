"""The reasons of a refusal, as exceptions.

Any other exception is `internal` with a fixed text, since its message can contain a value. Its traceback is logged.
A failed call of the host (`http.HttpError`, `kubernetes_secrets.SecretError`) is a reason as well.
"""

from typing import Any


class Refusal(Exception):
    """A reason. The pod's author sees its text, which must not contain the value of a secret."""

    def answer(self, resource: Any) -> None:
        raise NotImplementedError


class NotFound(Refusal):
    """The backend does not have this secret."""

    def answer(self, resource: Any) -> None:
        resource.not_found(str(self))


class Unsupported(Refusal):
    """The backend does not support this delivery."""

    def answer(self, resource: Any) -> None:
        resource.unsupported(str(self))


class Invalid(Refusal):
    """The request is not valid for this backend."""

    def answer(self, resource: Any) -> None:
        resource.invalid(str(self))


class Denied(Refusal):
    """The pod must not have this secret."""

    def answer(self, resource: Any) -> None:
        resource.denied(str(self))


class Internal(Refusal):
    """The plugin itself failed."""

    def answer(self, resource: Any) -> None:
        resource.internal(str(self))


class Unavailable(Refusal):
    """The backend does not answer at present."""

    def __init__(self, text: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds

    def answer(self, resource: Any) -> None:
        resource.unavailable(str(self), self.retry_after_seconds)
