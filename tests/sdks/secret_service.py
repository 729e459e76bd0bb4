"""The part of Flyte 2.0.43 that `flyte create secret` calls: it makes a Kubernetes Secret of each secret.

Usage: secret_service.py KUBECONFIG NAMESPACE. The first line of the output is the port, on the loopback interface.
"""

import base64
import hashlib
import io
import json
import re
import ssl
import sys
import urllib.error
import urllib.request
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

import yaml
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.cluster import payload_pb2 as cluster
from flyteidl2.cluster.service_connect import ClusterServiceSync, ClusterServiceWSGIApplication
from flyteidl2.secret import payload_pb2 as secret
from flyteidl2.secret.secret_connect import SecretServiceSync, SecretServiceWSGIApplication

with open(sys.argv[1]) as file:
    kubeconfig = yaml.safe_load(file)
cluster_of_pods, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
ca = base64.b64decode(cluster_of_pods["certificate-authority-data"]).decode()
secrets = f"{cluster_of_pods['server']}/api/v1/namespaces/{sys.argv[2]}/secrets"


def manifest(request: secret.CreateSecretRequest) -> dict:
    """The Kubernetes Secret. Flyte ignores the organization and the type of the request."""
    scope = {key: value for key in ("project", "domain") if (value := getattr(request.id, key))}
    if not re.fullmatch(r"[-a-zA-Z0-9_]+", request.id.name) or scope.keys() == {"project"}:
        raise ConnectError(Code.INVALID_ARGUMENT, "the name or the scope is not valid")
    name = f"u__org__flyte__domain__{request.id.domain}__project__{request.id.project}__key__{request.id.name}"
    spec = request.secret_spec
    value = spec.binary_value if spec.WhichOneof("value") == "binary_value" else spec.string_value.encode()
    labels = {"app.flyte.org/managed": "true"} | {f"app.flyte.org/{key}": value for key, value in scope.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": hashlib.md5(name.encode()).hexdigest(), "labels": labels},
        "data": {name: base64.b64encode(value).decode()},
    }


class Secrets(SecretServiceSync):
    def create_secret(self, request, ctx):
        headers = {"authorization": f"Bearer {user['token']}", "content-type": "application/json"}
        create = urllib.request.Request(secrets, json.dumps(manifest(request)).encode(), headers)
        try:
            urllib.request.urlopen(create, context=ssl.create_default_context(cadata=ca)).close()
        except urllib.error.HTTPError as error:
            code = Code.ALREADY_EXISTS if error.code == 409 else Code.INTERNAL
            raise ConnectError(code, f"the API server answers with {error.code}") from error
        return secret.CreateSecretResponse()


class Clusters(ClusterServiceSync):
    def select_cluster(self, request, ctx):
        # Without an endpoint, the SDK stays with this server.
        return cluster.SelectClusterResponse()


services = {
    "/flyteidl2.secret.SecretService": SecretServiceWSGIApplication(Secrets()),
    "/flyteidl2.cluster.ClusterService": ClusterServiceWSGIApplication(Clusters()),
}


def application(environment, start_response):
    # The socket does not end with the body, and a refusal reads the body to its end.
    length = int(environment.get("CONTENT_LENGTH") or 0)
    environment["wsgi.input"] = io.BytesIO(environment["wsgi.input"].read(length))
    return services[environment["PATH_INFO"].rpartition("/")[0]](environment, start_response)


class Server(ThreadingMixIn, WSGIServer):
    """With a thread for each connection: the SDK keeps one without a request."""

    daemon_threads = True


with make_server("127.0.0.1", 0, application, Server) as http:
    print(http.server_port, flush=True)
    http.serve_forever()
