"""Programs nobody here wrote, each in a virtual environment of its own, installed from the package registry once.

They stay out of the project's own environment: their requirements are not ours. The folder is `var/clients`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import sys

import pytest

HOME = pathlib.Path(__file__).parents[2] / "var" / "clients"
SECONDS = 900  # for an installation


def installed(name: str, *requirements: str) -> pathlib.Path:
    """The folder of the programs (`bin`) of an environment with these requirements; made where it is missing.

    Skips the test, with pip's last words, where the registry cannot be reached.
    """
    made_of = "\n".join([platform.python_version(), *requirements])
    folder = HOME / f"{name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests of another process may want the same one
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            failure = _install(folder, requirements)
            if failure:
                shutil.rmtree(folder, ignore_errors=True)
                pytest.skip(f"{name} cannot be installed: {failure}")
            (folder / "complete").touch()
    return folder / "bin"


def _install(folder: pathlib.Path, requirements: tuple[str, ...]) -> str:
    """Installs; what went wrong, or nothing."""
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", str(folder)], [*pip, *requirements]):
        try:
            finished = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if finished.returncode != 0:
            return (finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"])[-1]
    return ""


def without_openstack(environ: dict[str, str] | None = None) -> dict[str, str]:
    """The environment variables of this process but for those that name a cloud, with `environ` on top."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "MURANO_", "PYTHON"))}
    return {**kept, **(environ or {})}
