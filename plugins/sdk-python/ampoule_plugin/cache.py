"""The grant `cache`: a memory that outlives an admission. `wit/world.wit` must import it."""

import sys

if sys.platform == "wasi":
    from wit_world.imports.cache import get, set
else:
    from .testing import cache_get as get
    from .testing import cache_set as set

__all__ = ["get", "set"]
