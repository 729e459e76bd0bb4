"""Serialises every task of `flyte_tasks` as flyte 2 deploys it, and prints the pod that Flyte's backend makes from each."""

import pathlib

import backend
import flyte_tasks
from flyte._internal.runtime.task_serde import translate_task_to_wire
from flyte._task import TaskTemplate
from flyte.models import SerializationContext

folder = pathlib.Path(__file__).parent
context = SerializationContext(version="1", project="project", domain="development", org="flyte", root_dir=folder)
tasks = {name: task for name, task in vars(flyte_tasks).items() if isinstance(task, TaskTemplate)}
backend.show({name: translate_task_to_wire(task, context).task_template for name, task in tasks.items()})
