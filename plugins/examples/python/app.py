"""A secret backend in Python: a variable from a Kubernetes Secret whose name has a prefix.

`wit/types.wit` says what every record and edit means. `componentize-py --wit-path wit --world plugin bindings .` writes the
classes imported here into the folder, for an editor; the build makes its own.
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
    """What `configure` leaves for `inject`. An instance answers one pod, and is gone after it."""

    secret_prefix: str = ""
    env_prefix: str = ""


SETTINGS = Settings()


class Injector(exports.Injector):
    """Made anew for every call, so nothing is kept in it."""

    def describe(self) -> PluginInfo:
        return PluginInfo("example-plugin", "0.1.0", [MountRequirement.ENV_VAR], json.dumps(SCHEMA))

    def configure(self, settings: str, conventions: Conventions) -> None:
        SETTINGS.env_prefix = conventions.env_prefix
        for key, value in json.loads(settings).items():
            if key != "secretPrefix":
                raise Err(f"{key}: is no setting; there is secretPrefix")
            if not isinstance(value, str):
                raise Err("secretPrefix: must be text")
            SETTINGS.secret_prefix = value

    def inject(self, request: SecretRequest, pod: PodView) -> list[Edit]:
        if not request.group or not request.key:
            raise Err(InjectionError_InvalidRequest("group and key must both be set"))
        if request.mount == MountRequirement.FILE:
            raise Err(InjectionError_Unsupported("only environment variables, no files"))
        secret = SETTINGS.secret_prefix + request.group
        # For the admin; never a secret's value.
        log(Level.DEBUG, f"a variable from Secret {secret}")
        name = request.env_var or SETTINGS.env_prefix + request.key.upper()
        return [Edit_SetEnv(EnvVar(name, EnvSource_SecretKey(SecretKeyRef(secret, request.key, False))))]
