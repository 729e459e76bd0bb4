"""Uses every grant through the SDK: `tests/e2e/authors.rs` builds it in a new plugin."""

import os
import time

from ampoule_plugin import NotFound, Plugin, Pod, Request, Value, cache, export, http, kubernetes_secrets


class Grants(Plugin):
    name = "grants"
    version = "1.0.0"

    def inject(self, request: Request, pod: Pod) -> None:
        print("a line of the log")
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


Injector, Fetcher, Lifecycle = export(Grants)
