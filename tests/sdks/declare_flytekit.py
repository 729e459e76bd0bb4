"""Serialises every task of `flytekit_tasks` as flytekit registers it, and prints the pod that Flyte's backend makes from each."""

from collections import OrderedDict

import backend
import flytekit_tasks
from flytekit.configuration import ImageConfig, SerializationSettings
from flytekit.core.base_task import PythonTask
from flytekit.tools.translator import get_serializable

images = ImageConfig.auto(img_name="example.org/task:1")
settings = SerializationSettings(image_config=images, project="project", domain="development", version="1")
tasks = {name: task for name, task in vars(flytekit_tasks).items() if isinstance(task, PythonTask)}
backend.show(
    {name: get_serializable(OrderedDict(), settings, task).to_flyte_idl().template for name, task in tasks.items()}
)
