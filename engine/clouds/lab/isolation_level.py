"""What this machine lets the lab isolate, found by trying it in a short-lived process."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.clouds.lab.sandbox import identity

_ROOT = Path(__file__).resolve().parents[3]
_PROBE = "import sys; sys.path.insert(0, sys.argv[1]); from engine.clouds.lab.sandbox.probe import main; main()"


@dataclass(frozen=True)
class Isolation:
    """`full`: as root, servers are other users on this machine and the host reaches their addresses. `user`: in a user
    namespace, all users of a server are the service's own user outside, addresses are reached through forwarding.
    `none`: nothing runs. `missing` are sentences for people."""

    level: Literal["full", "user", "none"]
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.level}" + (f" ({'; '.join(self.missing)})" if self.missing else "")


@functools.cache
def isolation() -> Isolation:
    """The level for this process's user; the same during its life."""
    if sys.platform != "linux":
        return Isolation("none", (f"lab servers need Linux, this is {sys.platform}: scripts are recorded, not run",))
    absent = [
        f"{name} ({package})" for name, package in (("ip", "iproute2"),) if shutil.which(name, path=_PATH) is None
    ]
    if absent:
        return Isolation("none", (f"missing program {', '.join(absent)}: scripts are recorded, not run",))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _PROBE, str(_ROOT)], capture_output=True, text=True, timeout=20, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Isolation(
            "none", (f"this machine lets the lab isolate nothing ({reason}): scripts are recorded, not run",)
        )
    if identity.has_users_to_give():
        return Isolation("full")
    return Isolation(
        "user",
        (
            "the host reaches servers through forwarded ports on 127.0.0.1, not at their addresses (needs root)",
            "a server has one user: programs that change to another one fail (needs root)",
        ),
    )


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
