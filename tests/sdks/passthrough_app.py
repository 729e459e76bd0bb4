"""An application behind Flyte's middleware, which asks Ampoule's console with the metadata of its caller.

Usage: passthrough_app.py CONSOLE. The first line of the output is the port, on the loopback interface.
"""

import socket
import sys

import httpx
import uvicorn
from fastapi import FastAPI, Response
from flyte.app.extras import FastAPIPassthroughAuthMiddleware
from flyte.remote._auth_metadata import get_auth_metadata

app = FastAPI()
app.add_middleware(FastAPIPassthroughAuthMiddleware, excluded_paths={"/health"})


@app.get("/health")
async def health() -> dict[str, int]:
    return {"metadata": len(get_auth_metadata())}


@app.get("/plugins")
async def plugins() -> Response:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://{sys.argv[1]}/api/v1/plugins", headers=list(get_auth_metadata()))
    kept = {name: answer.headers[name] for name in ("content-type", "www-authenticate") if name in answer.headers}
    return Response(answer.content, answer.status_code, kept)


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
