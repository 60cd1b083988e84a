"""Several versions of one package in one program."""

from __future__ import annotations

from typing import Any

import pytest
from dsl_world import package_of

import dsl


def library(*, other: str = "0.1") -> dsl.Library:
    tool = "Name: lib.Tool\nMethods:\n  ver: {{Body: [{{Return: '{0}'}}]}}\n"
    return dsl.Library(
        [
            package_of(tool.format("0.1.0"), name="lib", version="0.1.0"),
            package_of(tool.format("0.2.0"), name="lib", version="0.2.0"),
            package_of(tool.format("1.0.0"), name="lib", version="1.0.0"),
            package_of("Name: a.A\nExtends: lib.Tool\n", name="a", require="{lib: 0}"),
            package_of("Name: b.B\nExtends: lib.Tool\n", name="b", require=f"{{lib: '{other}'}}"),
            package_of(
                """
                Name: Main
                Extends: [a.A, b.B]
                Methods:
                  run: {Body: [{Return: $.ver()}]}
                  ancestors: {Body: [{Return: !yaql "typeinfo($).ancestors.select(str($.version))"}]}
                  isA: {Body: [{Return: !yaql "[$ is 'a.A', $ is 'b.B', cast($, 'a.A').ver()]"}]}
                """,
                require="{a: '', b: ''}",
            ),
        ]
    )


def load(packages: dsl.Library, **options: Any) -> dsl.Program:
    return dsl.Runtime(packages, **options).load({"Objects": {"?": {"type": "t.Main", "id": "main"}}})


def test_versions_that_one_version_can_stand_for_are_merged() -> None:
    program = load(library())
    assert program.call("main", "run") == "0.1.0"
    assert program.call("main", "ancestors") == ["0.0.0", "0.0.0", "0.1.0", "0.0.0"]
    assert program.call("main", "isA") == [True, True, "0.1.0"]


def test_versions_that_exclude_each_other_stay_apart() -> None:
    program = load(library(other="1"))
    with pytest.raises(dsl.Thrown, match="AmbiguousMethodName"):
        program.call("main", "run")
    assert program.call("main", "isA") == [True, True, "0.2.0"]


def test_the_newest_version_wins_unless_an_older_one_is_fixed() -> None:
    packages = dsl.Library(
        [
            *(package for package in library().packages if package.full_name == "lib"),
            package_of("Name: Main\nExtends: lib.Tool\n", require="{lib: 0}"),
        ]
    )
    newest = load(packages)
    assert newest.call("main", "ver") == "0.2.0"
    assert newest.fixations() == {"io.murano": ["0.0.0"], "lib": ["0.2.0"]}
    assert load(packages, fixations={"lib": ["0.1.0"]}).call("main", "ver") == "0.1.0"


def test_a_class_that_inherits_from_itself_is_refused() -> None:
    packages = dsl.Library([package_of("Name: Main\nExtends: Other\n---\nName: Other\nExtends: Main\n")])
    with pytest.raises(dsl.Thrown, match=r"inherits from itself: t.Main@t/0.0.0 -> t.Other@t/0.0.0 -> t.Main"):
        load(packages)
