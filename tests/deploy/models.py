"""Reads a list of custom resources, and prints each as the model of its kind understands it: what a model does not know is gone."""

import json
import sys

from cloudcoil.models.cert_manager import v1 as cert_manager
from cloudcoil.models.prometheus_operator import v1 as monitoring

MODULES = {"cert-manager.io/v1": cert_manager, "monitoring.coreos.com/v1": monitoring}

objects = json.load(sys.stdin)
models = [getattr(MODULES[object["apiVersion"]], object["kind"]).model_validate(object) for object in objects]
json.dump([model.model_dump(mode="json", by_alias=True, exclude_none=True) for model in models], sys.stdout)
