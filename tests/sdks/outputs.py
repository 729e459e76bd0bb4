"""Prints the results in tasks' output folders, given with the SDK: `{"value": …}`, or the `{"error": …}` that the SDK wrote."""

import json
import pathlib
import sys


def of_flytekit(folder: pathlib.Path) -> dict:
    from flyteidl.core import errors_pb2, literals_pb2

    if (error := folder / "error.pb").exists():
        return {"error": errors_pb2.ErrorDocument.FromString(error.read_bytes()).error.message}
    outputs = literals_pb2.LiteralMap.FromString((folder / "outputs.pb").read_bytes())
    return {"value": json.loads(outputs.literals["o0"].scalar.primitive.string_value)}


def of_flyte(folder: pathlib.Path) -> dict:
    from flyteidl2.core import execution_pb2
    from flyteidl2.task import common_pb2

    if (error := folder / "error.pb").exists():
        return {"error": execution_pb2.ErrorDocument.FromString(error.read_bytes()).error.message}
    outputs = common_pb2.Outputs.FromString((folder / "outputs.pb").read_bytes())
    return {"value": json.loads(outputs.literals[0].value.scalar.primitive.string_value)}


read = {"flytekit": of_flytekit, "flyte": of_flyte}[sys.argv[1]]
print(json.dumps([read(pathlib.Path(folder)) for folder in sys.argv[2:]]))
