"""Tasks as users of flyte 2 write them. Its SDK has no lookup: a task reads its environment and its files, at the
documented paths, and returns them as JSON.

`tests/e2e/sdks.rs` refers to them by name, and creates the Secrets of the cluster.
"""

import hashlib
import json
import os
import pathlib

import flyte

FILES = pathlib.Path("/etc/flyte/secrets")


def environment(name: str, secrets) -> flyte.TaskEnvironment:
    return flyte.TaskEnvironment(name=name, image=flyte.Image.from_base("example.org/task:1"), secrets=secrets)


def variables(*names: str) -> list[str]:
    return [os.environ[name] for name in names]


def files(*paths: str) -> list[str]:
    """Files at the documented paths: in a folder with the name of the group, both in lower case."""
    return [(FILES / path).read_text() for path in paths]


@environment("shorthand", "my_secret").task
async def shorthand() -> str:
    return json.dumps(variables("MY_SECRET"))


@environment("dashes", "my-secret").task
async def shorthand_with_dashes() -> str:
    return json.dumps(variables("MY_SECRET"))


@environment("default-name", flyte.Secret("api-key", group="openai")).task
async def default_name() -> str:
    return json.dumps(variables("OPENAI_API_KEY"))


@environment("as-env-var", flyte.Secret("api-key", group="openai", as_env_var="TOKEN")).task
async def as_env_var() -> str:
    return json.dumps(variables("TOKEN"))


@environment("file", flyte.Secret("CA.crt", group="tls", mount=FILES)).task
async def file() -> str:
    return json.dumps(files("tls/ca.crt"))


@environment("file-without-group", flyte.Secret("my_secret", mount=FILES)).task
async def file_without_group() -> str:
    # Flyte's manager of Kubernetes Secrets calls a Secret without a group by the MD5 of its key, and its folder too.
    return json.dumps(files(hashlib.md5(b"my_secret").hexdigest() + "/my_secret"))


@environment("file-and-env-var", flyte.Secret("api-key", group="openai", mount=FILES, as_env_var="TOKEN")).task
async def file_and_env_var() -> str:
    # With both, the SDK asks for a variable.
    return json.dumps(variables("TOKEN"))


DATABASE = ("username", "password", "host")


@environment("three-variables", [flyte.Secret(key, group="database") for key in DATABASE]).task
async def three_keys_as_env_vars() -> str:
    return json.dumps(variables(*(f"DATABASE_{key.upper()}" for key in DATABASE)))


@environment("three-files", [flyte.Secret(key, group="database", mount=FILES) for key in DATABASE]).task
async def three_keys_as_files() -> str:
    return json.dumps(files(*(f"database/{key}" for key in DATABASE)))


@environment(
    "several",
    ["my_secret", flyte.Secret("api-key", group="openai"), flyte.Secret("CA.crt", group="tls", mount=FILES)],
).task
async def several() -> str:
    return json.dumps(variables("MY_SECRET", "OPENAI_API_KEY") + files("tls/ca.crt"))


@environment("absent-env-var", flyte.Secret("key", group="absent")).task
async def absent_env_var() -> str:
    return json.dumps(variables("ABSENT_KEY"))


@environment("absent-file", flyte.Secret("key", group="absent", mount=FILES)).task
async def absent_file() -> str:
    return json.dumps(files("absent/key"))
