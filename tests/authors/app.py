"""Uses every grant through the SDK, and fails in two ways: `tests/e2e/authors.rs` builds it in a new plugin."""

import os
import sys
import time
from typing import Any

from ampoule_plugin import NotFound, Plugin, Pod, Request, Value, cache, export, http, kubernetes_secrets


class Grants(Plugin):
    name = "grants"
    version = "1.0.0"

    def inject(self, request: Request, pod: Pod) -> None:
        print("a line of the log")
        if request.key == "exception":
            read_account({})
        request.set_env_from_promise("VALUE", request.key)

    def fetch(self, promise: str) -> str | bytes | Value:
        return getattr(self, promise)()

    def environment(self) -> str:
        return os.environ["TOKEN"]

    def secret(self) -> bytes:
        return kubernetes_secrets.read("store", "token", "value")

    def cache(self) -> bytes | None:
        cache.set("key", b"cached", 60)
        return cache.get("key")

    def http(self) -> Value:
        time.sleep(0.001)
        response = http.get("https://secrets.example.com/v1?a=b", {"x-token": "t"})
        return Value(response.body, version=str(response.status), expires_in_seconds=60)

    def missing(self) -> str:
        raise NotFound("the store has no such secret")


def read_account(answer: dict[str, Any]) -> str:
    """Raises a KeyError, after a line with text that a terminal or a log must not interpret."""
    print("the store answered \x1b[31m{}", file=sys.stderr)
    return answer["account"]["id"]


OfTheSdk, Fetcher, Lifecycle = export(Grants)


class Injector(OfTheSdk):
    def inject(self, pod: Any, request: Any) -> None:
        # An exception that the SDK does not catch is a trap, as in a plugin without the SDK.
        if request.key() == "trap":
            print("a line before the trap")
            read_account({})
        super().inject(pod, request)
