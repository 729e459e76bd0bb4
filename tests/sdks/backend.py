"""The part of Flyte's backend that makes a pod of a task: its secrets become annotations, and its container is passed on.

Only the SDK's own messages are read, the same that it would send at registration.
"""

import base64
import json

from google.protobuf import text_format

# Flyte's alphabet ends with 1 to 6; the standard one, with 2 to 7, reads as garbage.
STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
FLYTE = b"abcdefghijklmnopqrstuvwxyz123456"


def annotation(secret) -> str:
    # The text format is Go's to the byte if a field takes a line, and bytes outside ASCII are octal, hence `as_utf8`.
    text = text_format.MessageToString(secret, as_one_line=False, as_utf8=False)
    return base64.b32encode(text.encode()).rstrip(b"=").translate(bytes.maketrans(STANDARD, FLYTE)).decode()


def pod(template) -> dict:
    """What a pod gets of a task: labels, annotations, and its container's image and arguments, with `{{.input}}` and the like."""
    secrets = template.security_context.secrets
    return {
        "labels": {"inject-flyte-secrets": "true"},
        "annotations": {f"flyte.secrets/s{index}": annotation(secret) for index, secret in enumerate(secrets)},
        "image": template.container.image,
        "args": list(template.container.args),
    }


def show(templates: dict) -> None:
    print(json.dumps({name: pod(template) for name, template in templates.items()}))
