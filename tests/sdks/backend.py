"""The part of Flyte's backend that makes a pod from a task: secrets become annotations, and the container is copied.

The input is the SDK's own messages, as it would send them at registration.
"""

import base64
import json

from google.protobuf import text_format

# Flyte's alphabet ends with 1 to 6, the standard one with 2 to 7.
STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
FLYTE = b"abcdefghijklmnopqrstuvwxyz123456"


def annotation(secret) -> str:
    # Identical to Go's text format with one field per line and with octal escapes outside ASCII, hence `as_utf8`.
    text = text_format.MessageToString(secret, as_one_line=False, as_utf8=False)
    return base64.b32encode(text.encode()).rstrip(b"=").translate(bytes.maketrans(STANDARD, FLYTE)).decode()


def pod(template) -> dict:
    """A task's part of a pod: labels, annotations, and the container's image and arguments, with placeholders such as `{{.input}}`."""
    secrets = template.security_context.secrets
    return {
        "labels": {"inject-flyte-secrets": "true"},
        "annotations": {f"flyte.secrets/s{index}": annotation(secret) for index, secret in enumerate(secrets)},
        "image": template.container.image,
        "args": list(template.container.args),
    }


def show(templates: dict) -> None:
    print(json.dumps({name: pod(template) for name, template in templates.items()}))
