"""A secret backend in Python: sets environment variables with values that it fetches from a store over HTTPS. The
webhook adds the credential of the store to the requests.

The docstrings of `ampoule_plugin` document the SDK, and `wit/` the contract.
"""

from typing import Any

from ampoule_plugin import (
    Delivery,
    Internal,
    NotFound,
    Plugin,
    Pod,
    Request,
    Unavailable,
    Unsupported,
    conventions,
    export,
    http,
)


class Example(Plugin):
    name = "example-plugin"
    version = "0.1.0"
    deliveries = ["env-var"]
    settings_schema = {
        "type": "object",
        "properties": {"url": {"type": "string"}},
        "required": ["url"],
        "additionalProperties": False,
    }

    def configure(self, settings: dict[str, Any]) -> None:
        if unknown := sorted(settings.keys() - {"url"}):
            raise ValueError(f"{unknown[0]}: unknown setting, expected url")
        self.url = settings.get("url")
        if not isinstance(self.url, str) or not self.url.startswith("https://"):
            raise ValueError("url: must begin with https://")

    def inject(self, request: Request, pod: Pod) -> None:
        """Decides. A promise names the secret in the store, and is no secret."""
        if request.deliver_as == Delivery.FILE:
            raise Unsupported("files are not supported, only environment variables")
        promise = f"{http.url_segment('group', request.group)}/{http.url_segment('key', request.key)}"
        request.set_env_from_promise(request.env_var or conventions.env_prefix() + request.key.upper(), promise)

    def fetch(self, promise: str) -> bytes:
        """Fetches the value of a promise. A request without an answer raises `HttpError`, which is a reason as well."""
        response = http.get(f"{self.url}/{promise}")
        if response.status == 404:
            raise NotFound(f"the store has no secret {promise}")
        if response.status in (401, 403):
            raise Internal("the store refuses the credential of the webhook")
        if response.status != 200:
            seconds = response.headers.get("retry-after", "")
            retry_after_seconds = int(seconds) if seconds.isdecimal() else None
            text = f"the store answers with status {response.status}"
            raise Unavailable(text, retry_after_seconds=retry_after_seconds)
        return response.body


Injector, Fetcher, Lifecycle = export(Example)
