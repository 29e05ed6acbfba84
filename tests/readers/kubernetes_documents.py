"""Reads YAML from standard input and tells each document as a line of JSON, with what Kubernetes' schema says of it:
nothing, a problem, or that there is none for its kind. Usage: kubernetes_documents.py VERSION."""

import json
import sys

import kubernetes_validate
import yaml

for document in yaml.safe_load_all(sys.stdin):
    if document is None:
        continue
    told = {"document": document, "known": True, "problem": None}
    if "kind" in document:
        try:
            kubernetes_validate.validate(document, sys.argv[1], strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            told["known"] = False
        except kubernetes_validate.ValidationError as error:
            told["problem"] = f"{'.'.join(map(str, error.path))}: {error.message}"
    else:
        told["known"] = False
    print(json.dumps(told))
