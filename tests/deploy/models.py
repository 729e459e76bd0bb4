"""Reads a list of custom resources and dashboards, and prints each as the model of its kind parses it, without unknown fields."""

import json
import sys

from cloudcoil.models.cert_manager import v1 as cert_manager
from cloudcoil.models.prometheus_operator import v1 as monitoring
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

MODULES = {"cert-manager.io/v1": cert_manager, "monitoring.coreos.com/v1": monitoring}


def understood(object):
    # Without the panels' own models, their options are not checked.
    if "schemaVersion" in object:
        plugins.register_default_plugins()
        return json.loads(JSONEncoder().encode(Dashboard.from_json(object)))
    model = getattr(MODULES[object["apiVersion"]], object["kind"]).model_validate(object)
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


json.dump([understood(object) for object in json.load(sys.stdin)], sys.stdout)
