"""Tasks as users of flytekit write them. Each reads its secrets with flytekit's own lookups, and returns them as JSON.

`tests/e2e/sdks.rs` refers to them by name, and creates the Secrets of the cluster.
"""

import json
import os

from flytekit import Secret, current_context, task

ANY = Secret.MountType.ANY
ENV_VAR = Secret.MountType.ENV_VAR
FILE = Secret.MountType.FILE


def found(group: str, key: str) -> dict:
    """The result of `get`, and whether the file that flytekit expects exists."""
    secrets = current_context().secrets
    path = secrets.get_secrets_file(group, key)
    return {"value": secrets.get(group, key), "path": path, "exists": os.path.exists(path)}


@task(secret_requests=[Secret(group="user-info", key="user_secret", mount_requirement=ENV_VAR)])
def env_var() -> str:
    return json.dumps(found("user-info", "user_secret"))


@task(secret_requests=[Secret(group="user-info", key="user_secret", mount_requirement=FILE)])
def file() -> str:
    return json.dumps(found("user-info", "user_secret"))


@task(secret_requests=[Secret(group="user-info", key="user_secret", mount_requirement=ANY)])
def anyhow() -> str:
    return json.dumps(found("user-info", "user_secret"))


DATABASE = ("username", "password", "host")


@task(secret_requests=[Secret(group="database", key=key, mount_requirement=ENV_VAR) for key in DATABASE])
def three_keys_as_env_vars() -> str:
    # The lookup by attributes is flytekit's other spelling of `get`.
    database = current_context().secrets.database
    return json.dumps([database.username, database.password, database.host])


@task(secret_requests=[Secret(group="database", key=key, mount_requirement=FILE) for key in DATABASE])
def three_keys_as_files() -> str:
    return json.dumps([found("database", key) for key in DATABASE])


@task(
    secret_requests=[
        Secret(group="my-group.v2", key="API-Key.PEM", mount_requirement=ENV_VAR),
        Secret(group="my-group.v2", key="API-Key.PEM", mount_requirement=FILE),
    ]
)
def upper_case_dashes_and_dots() -> str:
    name = current_context().secrets.get_secrets_env_var("my-group.v2", "API-Key.PEM")
    return json.dumps({"env": {name: os.environ[name]}, "file": found("my-group.v2", "API-Key.PEM")})


@task(
    secret_requests=[
        Secret(group="openai", key="api-key", mount_requirement=ENV_VAR, env_var="OPENAI_API_KEY"),
        Secret(group="tls", key="ca.crt", mount_requirement=FILE, env_var="SSL_CERT_FILE"),
    ]
)
def names_of_its_own() -> str:
    with open(os.environ["SSL_CERT_FILE"]) as file:
        named = [os.environ["OPENAI_API_KEY"], os.environ["SSL_CERT_FILE"], file.read()]
    # The names that flytekit looks for are there as well, and its `get` strips white space from what it finds.
    return json.dumps({"named": named, "get": [found("openai", "api-key"), found("tls", "ca.crt")]})


@task(secret_requests=[Secret(group="keystore", key="store.p12", mount_requirement=FILE)])
def binary() -> str:
    return json.dumps(current_context().secrets.get("keystore", "store.p12", encode_mode="rb").hex())


@task(secret_requests=[Secret(group="user-info", key="user_secret", group_version="7", mount_requirement=FILE)])
def versioned() -> str:
    return json.dumps(found("user-info", "user_secret"))


LONG = "a-group-whose-name-is-longer-than-a-volume-may-be-called"


@task(secret_requests=[Secret(group=LONG, key="key", mount_requirement=FILE)])
def long_group() -> str:
    return json.dumps(found(LONG, "key"))


@task(secret_requests=[Secret(group="absent", key="key", mount_requirement=ENV_VAR)])
def absent_env_var() -> str:
    return json.dumps(found("absent", "key"))


@task(secret_requests=[Secret(group="absent", key="key", mount_requirement=FILE)])
def absent_file() -> str:
    return json.dumps(found("absent", "key"))


@task(secret_requests=[Secret(group="user-info", key="absent", mount_requirement=FILE)])
def absent_key() -> str:
    return json.dumps(found("user-info", "absent"))
