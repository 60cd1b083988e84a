"""The fixture `run`; what it is made of is in dsl_world.py."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from dsl_world import World


@pytest.fixture
def run() -> Callable[..., Any]:
    """Run the statements of one method of a class t.Main and give its result."""

    def run(body: str, *arguments: Any, classes: str = "", properties: str = "{}", **options: Any) -> Any:
        names = "".join(f"\n      - a{index}: {{Contract: $}}" for index in range(len(arguments)))
        text = f"Name: Main\nProperties: {properties}\nMethods:\n  run:\n    Arguments:{names or ' []'}\n    Body:\n"
        text += textwrap.indent(textwrap.dedent(body).strip("\n"), "      ") + "\n" + textwrap.dedent(classes)
        return World(text, **options).load().call("run", *arguments)

    return run
