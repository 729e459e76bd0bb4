"""A secret backend in Python: sets an environment variable from a Kubernetes Secret with a name prefix.

`wit/types.wit` documents every record and edit. `componentize-py --wit-path wit --world plugin bindings .` generates the
imported classes in this folder for an editor; the build generates its own copy.
"""

import json
from dataclasses import dataclass

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.log import Level, log
from wit_world.imports.types import (
    Conventions,
    Edit,
    Edit_SetEnv,
    EnvSource_SecretKey,
    EnvVar,
    InjectionError_InvalidRequest,
    InjectionError_Unsupported,
    MountRequirement,
    PluginInfo,
    PodView,
    SecretKeyRef,
    SecretRequest,
)

SCHEMA = {"type": "object", "properties": {"secretPrefix": {"type": "string"}}, "additionalProperties": False}


@dataclass
class Settings:
    """Set by `configure`, read by `inject`. The host drops an instance after one pod."""

    secret_prefix: str = ""
    env_prefix: str = ""


SETTINGS = Settings()


class Injector(exports.Injector):
    """A new object for every call, so it must not keep state."""

    def describe(self) -> PluginInfo:
        return PluginInfo("example-plugin", "0.1.0", [MountRequirement.ENV_VAR], json.dumps(SCHEMA))

    def configure(self, settings: str, conventions: Conventions) -> None:
        SETTINGS.env_prefix = conventions.env_prefix
        for key, value in json.loads(settings).items():
            if key != "secretPrefix":
                raise Err(f"{key}: unknown setting, expected secretPrefix")
            if not isinstance(value, str):
                raise Err("secretPrefix: must be a string")
            SETTINGS.secret_prefix = value

    def inject(self, request: SecretRequest, pod: PodView) -> list[Edit]:
        if not request.group or not request.key:
            raise Err(InjectionError_InvalidRequest("group and key must both be set"))
        if request.mount == MountRequirement.FILE:
            raise Err(InjectionError_Unsupported("files are not supported, only environment variables"))
        secret = SETTINGS.secret_prefix + request.group
        # For the plugin's author. Never log the value of a secret.
        log(Level.DEBUG, f"sets a variable from Secret {secret}")
        name = request.env_var or SETTINGS.env_prefix + request.key.upper()
        return [Edit_SetEnv(EnvVar(name, EnvSource_SecretKey(SecretKeyRef(secret, request.key, False))))]
