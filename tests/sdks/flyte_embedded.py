"""Tasks of flyte 2 whose secrets `flyte create secret` creates. Files are flat, and keep the case of their key.

`tests/e2e/sdks/embedded.rs` refers to them by name, and creates the secrets.
"""

import json
import os

import flyte
from flyte_tasks import FILES, environment, files, variables


@environment("organization", "my_secret").task
async def of_the_organization() -> str:
    return json.dumps(variables("MY_SECRET"))


@environment("project", flyte.Secret("api-key", as_env_var="TOKEN")).task
async def of_the_project() -> str:
    return json.dumps(variables("TOKEN"))


@environment("two-files", [flyte.Secret(key, mount=FILES) for key in ("CA_bundle", "keystore")]).task
async def two_files() -> str:
    keystore = (FILES / "keystore").read_bytes()
    return json.dumps([*files("CA_bundle"), len(keystore), keystore[:4].hex(), sorted(os.listdir(FILES))])


@environment("registry", ["registry", "my_secret"]).task
async def with_a_registry() -> str:
    # The secret of the registry is for the kubelet only.
    return json.dumps([*variables("MY_SECRET"), [name for name in os.environ if "REGISTRY" in name]])
