"""The host's modules in a component, and the fake host of `testing` everywhere else."""

import sys

if sys.platform == "wasi":
    from componentize_py_types import Err
    from wit_world.imports import conventions
    from wit_world.imports.admission import Delivery, InitContainer, InitContainerPosition, Volume
    from wit_world.imports.log import Level, log
else:
    from .testing import Delivery, Err, InitContainer, InitContainerPosition, Level, Volume, conventions, log

__all__ = ["Delivery", "Err", "InitContainer", "InitContainerPosition", "Level", "Volume", "conventions", "log"]
