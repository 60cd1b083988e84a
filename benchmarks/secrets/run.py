"""What sealing and masking cost, in microseconds of processor time: `python benchmarks/secrets/run.py`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from catalog.db import masking, sealing  # noqa: E402

REPORT = {"entity_id": "a" * 32, "text": "Installing the application", "level": "info"}
SERVERS = {
    f"server-{number}": {"type": "OS::Nova::Server", "properties": {"name": "x" * 20, "user_data": "y" * 15_000}}
    for number in range(3)
}


def main() -> None:
    ring = sealing.Ring([os.urandom(sealing.KEY_BYTES)], "benchmark")
    for name, value in (("arguments of a report", REPORT), ("an environment's model", model())):
        text = json.dumps(value, separators=(",", ":")).encode()
        sealed = ring.seal(text, "a.b")
        told = {
            "seal": microseconds(lambda text=text: ring.seal(text, "a.b")),
            "open": microseconds(lambda sealed=sealed: ring.open(sealed, "a.b")),
            "json.dumps": microseconds(lambda value=value: json.dumps(value, separators=(",", ":"))),
            "json.loads": microseconds(lambda text=text: json.loads(text)),
        }
        show(f"{name}, {len(text)} bytes", told)
    veil = masking.Veil(f"Secret-number-{number}" for number in range(8))
    for name, value in (("arguments of a report", REPORT), ("a stack with 45 kB of user data", {"resources": SERVERS})):
        show(name, {"mask": microseconds(lambda value=value: veil.value(value))})


def model() -> dict[str, Any]:
    """As after a deployment: what is composed, and its copy."""
    applications = json.loads((ROOT / "packages" / "examples" / "grafana-on-kubernetes.json").read_text())
    objects = {"?": {"id": "e", "type": "io.murano.Environment"}, "name": "e", "services": applications}
    return {"Objects": objects, "ObjectsCopy": objects, "Attributes": []}


def microseconds(call: Callable[[], object], times: int = 1000) -> float:
    call()
    began = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - began) / times * 1e6


def show(what: str, told: dict[str, float]) -> None:
    print(f"{what:40} " + "  ".join(f"{name} {found:.1f}" for name, found in told.items()))


if __name__ == "__main__":
    main()
