"""Plans for the agents in servers, as far as they can be judged unexecuted (spec/agent-protocol.md, plan templates).

A plan template is a resource with `Scripts`. Whatever script or file it names must be in `Resources/scripts`, unless it
is written into the plan, downloaded, or filled in when the plan is sent.
"""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator

from dsl import syntax
from dsl.errors import Problem, SyntaxProblem
from dsl.packages import spelling
from dsl.packages.package import Package
from dsl.syntax import Location, Mapping, Sequence

SCRIPTS = "Resources/scripts/"
_SUFFIXES = (".template", ".yaml", ".yml", ".json")
_REPOSITORY_SCRIPTS = ("Chef", "Puppet")  # their entry points are cookbook::recipe, module::class


def check_plans(package: Package) -> list[Problem]:
    """What is wrong with the plan templates of a package, in the order of its files."""
    problems: list[Problem] = []
    for name in package.names:
        if name.startswith("Resources/") and not name.startswith(SCRIPTS) and name.endswith(_SUFFIXES):
            try:
                documents = syntax.load(package.read(name), package.location_of(name), parse_expressions=False)
            except SyntaxProblem:
                continue  # resources can be anything; whether this one is read as YAML is not known
            if documents and isinstance(documents[0], Mapping) and _is_plan(documents[0]):
                problems.extend(_check_plan(documents[0], package))
    return problems


def _is_plan(document: Mapping) -> bool:
    return "Scripts" in document and ("FormatVersion" in document or "Commands" in document)


def _check_plan(plan: Mapping, package: Package) -> Iterator[Problem]:
    version = str(plan.get("FormatVersion") or "1.0.0")
    if version.startswith("1."):
        yield from _check_list(plan, "Scripts", package, frozenset())
        return
    body = plan.get("Body")
    if isinstance(body, str):
        yield from _check_body(body, plan.value_location("Body"))
    inline = _inline_names(plan.get("Files"))
    scripts = plan["Scripts"]
    if scripts is None:
        return
    if not isinstance(scripts, Mapping):
        yield _problem(plan.value_location("Scripts"), "Scripts must be a mapping", "names and what they stand for")
        return
    for name, script in scripts.items():
        if not isinstance(script, Mapping):
            yield _problem(scripts.value_location(name), f"the script {name} must be a mapping", "Type and EntryPoint")
            continue
        if not script.get("EntryPoint"):
            fix = "name the file below Resources/scripts that it starts"
            yield _problem(scripts.key_location(name), f"the script {name} has no EntryPoint", fix=fix)
        elif script.get("Type") not in _REPOSITORY_SCRIPTS:
            yield from _check_reference(script["EntryPoint"], script.value_location("EntryPoint"), package, inline)
        yield from _check_list(script, "Files", package, inline)


def _check_list(table: Mapping, key: str, package: Package, inline: frozenset[str]) -> Iterator[Problem]:
    entries = table.get(key)
    if isinstance(entries, Sequence):
        for index, entry in enumerate(entries):
            yield from _check_reference(entry, entries.item_location(index), package, inline)
    elif entries:
        yield _problem(table.value_location(key), f"{key} must be a list", "names of files below Resources/scripts")


def _check_reference(entry: object, place: Location, package: Package, inline: frozenset[str]) -> Iterator[Problem]:
    """Problems of `path`, `<path>`, `{name: path}` or a URL. What is in `<>` is binary, and often made by a build."""
    if isinstance(entry, Mapping) and len(entry) == 1:
        key = next(iter(entry))
        place = entry.value_location(key)
        entry = entry[key]
    if not isinstance(entry, str) or entry.startswith("$") or "://" in entry or entry in inline:
        return
    binary = entry.startswith("<") and entry.endswith(">")
    path = entry[1:-1] if binary else entry
    if path in inline or SCRIPTS + path in package.names:
        return
    available = [name.removeprefix(SCRIPTS) for name in package.names if name.startswith(SCRIPTS)]
    meant = spelling.close_to(path, available)
    hint = f"did you mean {meant}? If not, " if meant else ""
    fix = f"{hint}add {SCRIPTS}{path}, or correct the name"
    message = f"the script file {path} does not exist"
    if binary and not meant:
        fix = f"build {SCRIPTS}{path} before the package is used, or correct the name"
        yield Problem(place.file, place.line, place.column, message, fix=fix, level="warning")
    else:
        yield _problem(place, message, fix=fix)


def _inline_names(files: object) -> frozenset[str]:
    """Names of files that the plan carries itself, by key and by Name."""
    if not isinstance(files, Mapping):
        return frozenset()
    names = {value.get("Name") for value in files.values() if isinstance(value, Mapping)}
    return frozenset(str(name) for name in (*files, *names) if name)


def _check_body(body: str, place: Location) -> Iterator[Problem]:
    """Brackets and quotes that are never closed; agents run on several versions of Python, so no more is sure."""
    first = 0
    opened: list[tuple[str, int]] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(body).readline):
            if token.type == tokenize.OP and token.string in "([{":
                opened.append((token.string, token.start[0]))
            elif token.type == tokenize.OP and token.string in ")]}" and opened:
                opened.pop()
    except tokenize.TokenError as error:
        message = str(error.args[0])
        if "EOF" in message:
            first = opened[-1][1] if opened else 0
            what = f"the bracket {opened[-1][0]}" if opened else "a text in three quotes"
            # text in block style begins on the line below its key
            line = place.line + first if first else place.line
            yield Problem(place.file, line, None, f"the plan's body opens {what} and never closes it", fix="close it")
    except (SyntaxError, ValueError):
        return  # indentation and characters that one Python takes and another does not


def _problem(place: Location, message: str, expected: str | None = None, fix: str | None = None) -> Problem:
    return Problem(place.file, place.line, place.column, message, expected, None, fix)
