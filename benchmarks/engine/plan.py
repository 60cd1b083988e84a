"""How long the plan of a big environment takes: `python benchmarks/engine/plan.py [servers]`.

A Kubernetes cluster of so many servers (100 by default), planned twice on no cloud at all: what is left is the engine's
own work. The exit status tells whether it is within the time that the API waits for a plan, and the same both times.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import dsl  # noqa: E402
from engine import effects, plan, system  # noqa: E402

ENVIRONMENT = "environment"


def main() -> int:
    servers = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    folders = sorted(path.parent for path in (ROOT / "packages").glob("*/manifest.yaml"))
    library, model = dsl.Library([str(folder) for folder in folders]), cluster_of(servers)
    hashes = set()
    for _ in range(2):
        began, busy = time.monotonic(), time.process_time()
        answer = plan.plan(question(library, model))
        hashes.add(answer["hash"])
        size = len(json.dumps(answer)) / 1e6
        print(
            f"{servers} servers: {len(answer['steps'])} steps, {size:.2f} MB, {time.monotonic() - began:.1f} s, "
            f"{time.process_time() - busy:.1f} s of a processor"
        )
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB at most")
    return 0 if len(hashes) == 1 and time.monotonic() - began < plan.SECONDS else 1


def question(library: dsl.Library, model: dict[str, Any]) -> plan.Question:
    context = effects.Context(
        deployment_id="plan",
        environment_id=ENVIRONMENT,
        project_id="project",
        user_id="user",
        owner_project_id="project",
        owner_user_id="user",
    )
    action = plan.deploying(ENVIRONMENT)
    return plan.Question(
        library=library, model=model, action=action, context=context, natives=system.natives(), key=b"benchmark"
    )


def cluster_of(servers: int) -> dict[str, Any]:
    """The cluster of the bundled example with as many minions as it takes."""
    example = json.loads((ROOT / "packages/examples/grafana-on-kubernetes.json").read_text(encoding="utf-8"))
    cluster = next(each for each in example if each["?"]["type"] == "org.chandlery.kubernetes.Cluster")
    one = cluster["minions"][0]
    others = servers - 1 - len(cluster["gateways"])
    cluster["minions"] = [_renamed(one, str(number)) for number in range(others)]
    network = {"?": {"type": "io.murano.resources.NeutronNetwork", "id": "network"}, "name": "network"}
    root = {
        "?": {"type": "io.murano.Environment", "id": ENVIRONMENT},
        "name": "big",
        "services": [cluster],
        "defaultNetworks": {"environment": network, "flat": None},
    }
    return {"Objects": root, "Attributes": []}


def _renamed(node: dict[str, Any], suffix: str) -> dict[str, Any]:
    server = node["instance"]
    return {
        **node,
        "?": {**node["?"], "id": f"minion-{suffix}"},
        "instance": {**server, "?": {**server["?"], "id": f"server-{suffix}"}, "name": f"minion-{suffix}"},
    }


if __name__ == "__main__":
    sys.exit(main())
