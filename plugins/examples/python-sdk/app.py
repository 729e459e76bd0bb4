"""A secret backend in Python: sets an environment variable from a Kubernetes Secret with a name prefix.

The docstrings of `ampoule_plugin` document the SDK, and `wit/` the contract.
"""

from typing import Any

from ampoule_plugin import Delivery, Invalid, Level, Plugin, Pod, Request, Unsupported, conventions, export, log


class Example(Plugin):
    name = "example-plugin"
    version = "0.1.0"
    deliveries = ["env-var"]
    settings_schema = {
        "type": "object",
        "properties": {"secretPrefix": {"type": "string"}},
        "additionalProperties": False,
    }

    def configure(self, settings: dict[str, Any]) -> None:
        if unknown := sorted(settings.keys() - {"secretPrefix"}):
            raise ValueError(f"{unknown[0]}: unknown setting, expected secretPrefix")
        self.secret_prefix = settings.get("secretPrefix", "")
        if not isinstance(self.secret_prefix, str):
            raise ValueError("secretPrefix: must be a string")

    def inject(self, request: Request, pod: Pod) -> None:
        group, key = request.group, request.key
        if not group or not key:
            raise Invalid("group and key must both be set")
        if request.deliver_as == Delivery.FILE:
            raise Unsupported("files are not supported, only environment variables")
        secret = self.secret_prefix + group
        # For the plugin's author. Never log the value of a secret.
        log(Level.DEBUG, f"sets a variable from Secret {secret}")
        request.set_env_from_secret(request.env_var or conventions.env_prefix() + key.upper(), secret=secret, key=key)


Injector, Fetcher, Lifecycle = export(Example)
