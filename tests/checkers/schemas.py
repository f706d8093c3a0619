"""Writes the schemas of Kubernetes' own kinds so that kubeconform can read them without a network.

The package kubernetes-validate carries them with references that only resolve on a server.
"""

import importlib.util
import json
import pathlib
import sys

# The oldest minor that Chart.yaml allows, and the newest that the package has.
MINORS = ["1.31", "1.37"]

# Found, not imported: importing wants a validator that is not needed.
package = pathlib.Path(importlib.util.find_spec("kubernetes_validate").origin).parent
for minor in MINORS:
    out = pathlib.Path(sys.argv[1], minor)
    out.mkdir(parents=True)
    for file in (package / "kubernetes-json-schema" / f"v{minor}.0-local-strict").glob("*.json"):
        schema = json.loads(file.read_text().replace('"/api/_definitions.json', '"_definitions.json'))
        schema.pop("$id", None)
        (out / file.name).write_text(json.dumps(schema))
