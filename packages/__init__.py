"""The bundled package library, as source; data, not code. These functions say where it is."""

from __future__ import annotations

import pathlib

# What an environment needs before any application: imported for everybody when a service starts for the first time.
CORE_LIBRARY = ("io.murano", "io.murano.applications")


def folder() -> pathlib.Path:
    """The folder that holds one folder per package."""
    return pathlib.Path(__file__).parent


def core_library() -> list[pathlib.Path]:
    """The folders of the core library's packages."""
    return [folder() / name for name in CORE_LIBRARY]


def example(name: str) -> pathlib.Path:
    """The file with the applications of an example composition; ``"{...}"`` in it stands for a password to choose."""
    return folder() / "examples" / f"{name}.json"
