"""Serialises every task of a module as flyte 2 deploys it, and prints the pod that Flyte's backend makes from each.

The default is `flyte_tasks`.
"""

import importlib
import pathlib
import sys

import backend
from flyte._internal.runtime.task_serde import translate_task_to_wire
from flyte._task import TaskTemplate
from flyte.models import SerializationContext

module = importlib.import_module("".join(sys.argv[1:]) or "flyte_tasks")
folder = pathlib.Path(__file__).parent
context = SerializationContext(version="1", project="project", domain="development", org="flyte", root_dir=folder)
tasks = {name: task for name, task in vars(module).items() if isinstance(task, TaskTemplate)}
backend.show({name: translate_task_to_wire(task, context).task_template for name, task in tasks.items()})
