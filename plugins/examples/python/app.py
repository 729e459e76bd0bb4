"""A secret backend in Python: sets an environment variable from a Kubernetes Secret with a name prefix.

`wit/` documents every method. `componentize-py --wit-path wit --world plugin bindings .` generates the imported classes
in this folder for an editor; the build generates its own copy.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.admission import Delivery, Pod, Request
from wit_world.imports.conventions import env_prefix
from wit_world.imports.log import Level, log

SCHEMA = {"type": "object", "properties": {"secretPrefix": {"type": "string"}}, "additionalProperties": False}

# Set by `configure`, read by `inject`. The host drops an instance after one pod.
settings = {"secretPrefix": ""}


class Injector(exports.Injector):
    """A new object for every call, so it must not keep state."""

    def describe(self) -> str:
        description = {"name": "example-plugin", "version": "0.1.0", "deliveries": ["env-var"]}
        return json.dumps(description | {"settingsSchema": SCHEMA})

    def configure(self, text: str) -> None:
        for key, value in json.loads(text).items():
            if key != "secretPrefix":
                raise Err(f"{key}: unknown setting, expected secretPrefix")
            if not isinstance(value, str):
                raise Err("secretPrefix: must be a string")
            settings[key] = value

    def inject(self, pod: Pod, request: Request) -> None:
        group, key = request.group(), request.key()
        if not group or not key:
            return request.invalid("group and key must both be set")
        if request.deliver_as() == Delivery.FILE:
            return request.unsupported("files are not supported, only environment variables")
        secret = settings["secretPrefix"] + group
        # For the plugin's author. Never log the value of a secret.
        log(Level.DEBUG, f"sets a variable from Secret {secret}")
        name = request.env_var() or env_prefix() + key.upper()
        try:
            request.set_env_from_secret(name, secret, key, False)
        except Err as error:
            request.invalid(error.value)
