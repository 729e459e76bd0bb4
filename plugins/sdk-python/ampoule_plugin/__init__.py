"""SDK for Ampoule plugins: a subclass of `Plugin`, exported by `export`.

    class Database(Plugin):
        name = "database"
        version = "1.0.0"

        def inject(self, request: Request, pod: Pod) -> None:
            request.set_env_from_secret("PASSWORD", secret=request.group, key=request.key)

    Injector, Fetcher, Lifecycle = export(Database)

The folder `wit/` documents every method of the contract.
"""

from ._host import Delivery, InitContainer, InitContainerPosition, Level, Volume, conventions, log
from .plugin import Plugin, Value, export
from .reasons import Denied, Internal, Invalid, NotFound, Refusal, Unavailable, Unsupported
from .request import Pod, Request

__all__ = [
    "Delivery",
    "Denied",
    "InitContainer",
    "InitContainerPosition",
    "Internal",
    "Invalid",
    "Level",
    "NotFound",
    "Plugin",
    "Pod",
    "Refusal",
    "Request",
    "Unavailable",
    "Unsupported",
    "Value",
    "Volume",
    "conventions",
    "export",
    "log",
]
