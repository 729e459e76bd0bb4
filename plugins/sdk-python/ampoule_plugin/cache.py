"""The grant `cache`: a memory that outlives an admission. `wit/world.wit` must import it."""

import sys

if sys.platform == "wasi":
    try:
        from wit_world.imports.cache import get, set
    except ImportError as error:
        what = "ampoule:injector/cache"
        raise ImportError(f"the cache is not available: the plugin needs the import {what} in wit/world.wit") from error
else:
    from .testing import cache_get as get
    from .testing import cache_set as set

__all__ = ["get", "set"]
