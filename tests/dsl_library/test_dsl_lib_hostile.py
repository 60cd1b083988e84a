"""Whatever the input is, a located problem comes out: never a Python error, never half a package."""

from __future__ import annotations

import io
import random
import zipfile

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.errors import PackageError, SyntaxProblem
from dsl.packages import Package, check_package, open_package, read_declarations
from dsl.packages.archives import MemoryFiles

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False), st.dates(), st.binary(max_size=3),
    st.sampled_from(["Foo", "ns:Foo", "$", "$x.f()", "In", "Static", "a.b", "", "=", "*", ">=1,<2", "../x", "Runtime"]),
)  # fmt: skip
WORDS = """Name Namespaces Extends Import Usage Properties Methods Workflow Meta Cardinality Applies Inherited Contract
    Default Body Arguments Scope Format FullName Type Version Classes Require Tags UI Logo Supplier a $x = destroy"""
KEYS = st.sampled_from(WORDS.split())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | SCALARS, inner, max_size=4),
    max_leaves=15,
)


def dumped(value: object) -> str:
    return yaml.safe_dump(value, allow_unicode=True)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_structure_is_a_class_or_a_problem(document: dict) -> None:
    try:
        read_declarations(dumped(document), "f.yaml", "a.B")
    except SyntaxProblem as problem:
        message = str(problem)
    else:
        message = "f.yaml:"
    assert message.startswith("f.yaml:")


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6), VALUES)
def test_any_structure_is_a_manifest_or_a_problem(manifest: dict, ui: object) -> None:
    files = {
        "manifest.yaml": dumped(manifest),
        "UI/ui.yaml": dumped(ui),
        "Classes/a": dumped(ui),
        "template.yaml": dumped(ui),
    }
    try:
        package = Package(MemoryFiles("demo", {name: text.encode() for name, text in files.items()}))
        problems = tuple(check_package(package))
    except PackageError as error:
        problems = error.problems
    assert all(problem.message for problem in problems)


HEAT = {"Format": "Heat.HOT/1.0", "FullName": "a.B", "Type": "Application"}


CONSTRAINTS = st.dictionaries(
    st.sampled_from(["allowed_values", "length", "range", "allowed_pattern", "description"]), VALUES, max_size=3
)
PARAMETER = st.dictionaries(
    st.sampled_from(["type", "label", "description", "default", "constraints"]),
    SCALARS | st.sampled_from(["string", "number", "json", "boolean"]) | st.lists(CONSTRAINTS, max_size=2),
    max_size=4,
)
PARAMETERS = st.dictionaries(st.sampled_from(["p", "q r", "1", "$x", "e'"]), PARAMETER, max_size=3)


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries(
        {"resources": st.just({"x": {}})},
        optional={"parameters": PARAMETERS | VALUES, "outputs": VALUES, "parameter_groups": VALUES},
    )
)
def test_any_heat_template_is_a_package_or_a_problem(template: dict) -> None:
    files = {"manifest.yaml": dumped(HEAT).encode(), "template.yaml": dumped(template).encode()}
    try:
        problems = tuple(check_package(Package(MemoryFiles("hot", files))))
    except PackageError as error:
        problems = error.problems
    assert all(problem.file for problem in problems)


def test_damaged_archives_are_problems() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.yaml", "Format: 1.0\nFullName: a.b\nType: Library\nClasses: {a.B: B.yaml}\n")
        archive.writestr("Classes/B.yaml", "Name: B\nNamespaces: {=: a}\n" * 3)
    sound = stream.getvalue()
    source = random.Random(7)
    outcomes = set()
    for _ in range(1500):
        damaged = bytearray(sound)
        for _ in range(source.randint(1, 4)):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        content = bytes(damaged[: source.randint(1, len(damaged))] if source.random() < 0.2 else damaged)
        try:
            package = open_package(content)
            check_package(package)
            package.archive()
            outcomes.add("opened")
        except PackageError as error:
            outcomes.add("refused" if error.problems else "refused without a word")
    assert outcomes == {"opened", "refused"}
