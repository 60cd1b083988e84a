"""Recognising statements: which construct a mapping is, which statements a block has (spec/muranopl.md §11)."""

from __future__ import annotations

from dataclasses import dataclass

from dsl.errors import Problem, SyntaxProblem
from dsl.syntax import Expression, Location, Mapping, Sequence

DSL_SYNTAX_ERROR = "murano.dsl.exceptions.DslSyntaxError"  # what packages know some of the errors by
# construct -> (mandatory keys, optional keys)
CONSTRUCTS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "Return": (frozenset(), frozenset()),
    "Break": (frozenset(), frozenset()),
    "Continue": (frozenset(), frozenset()),
    "Do": (frozenset(), frozenset()),
    "If": (frozenset({"Then"}), frozenset({"Else"})),
    "While": (frozenset({"Do"}), frozenset()),
    "For": (frozenset({"In", "Do"}), frozenset()),
    "Repeat": (frozenset({"Do"}), frozenset()),
    "Match": (frozenset({"Value"}), frozenset({"Default"})),
    "Switch": (frozenset(), frozenset({"Default"})),
    "Parallel": (frozenset(), frozenset({"Limit"})),
    "Try": (frozenset(), frozenset({"Catch", "Else", "Finally"})),
    "Throw": (frozenset(), frozenset({"Message", "Extra", "Cause"})),
    "Rethrow": (frozenset(), frozenset()),
}


@dataclass(frozen=True)
class Construct:
    """A mapping that is a statement, and the key that names it."""

    keyword: str
    mapping: Mapping
    location: Location

    def get(self, key: str) -> object:
        return self.mapping.get(key)


def statements_of(body: object, location: Location) -> list[tuple[object, Location]]:
    """The statements of a block with their places; one statement may stand without a list, nothing is an empty one."""
    if body is None:
        return []
    if isinstance(body, Sequence):
        return [(statement, location_of(statement, body.item_location(i))) for i, statement in enumerate(body)]
    return [(body, location_of(body, location))]


def location_of(value: object, otherwise: Location) -> Location:
    """Where a structure stands."""
    if isinstance(value, (Mapping, Sequence)):
        return value.location
    if isinstance(value, Expression) and value.location is not None:
        return value.location
    return otherwise


def construct_of(statement: object, location: Location) -> Construct:
    """The construct a statement is. Raises SyntaxProblem."""
    if not isinstance(statement, Mapping):
        fix = "an expression has at least one sign that is no letter; quote nothing"
        raise syntax_error(
            location, f"Syntax is incorrect in expression: {statement}", "an expression or a construct", fix=fix
        )
    keys = set(statement)
    if any(isinstance(key, Expression) for key in keys):
        raise syntax_error(location, "a statement holds one assignment", "one key", f"{len(keys)} keys")
    names = [str(key) for key in statement]
    candidates = [name for name in names if name in CONSTRUCTS and name != "Do"] or [n for n in names if n == "Do"]
    if not candidates:
        raise syntax_error(location, "unknown statement", "one of " + ", ".join(CONSTRUCTS), ", ".join(names))
    keyword = candidates[0]
    mandatory, optional = CONSTRUCTS[keyword]
    missing = mandatory - keys
    unknown = [name for name in names if name not in mandatory | optional | {keyword}]
    if missing or unknown:
        expected = ", ".join(sorted(mandatory)) + "".join(f", {key} (optional)" for key in sorted(optional))
        raise syntax_error(
            location,
            f"the keys of {keyword} are not right",
            (expected or "no other keys").lstrip(", "),
            ", ".join(names),
        )
    return Construct(keyword, statement, statement.location)


def text_names(value: object, location: Location) -> list[str]:
    """Names of exceptions after `With`, taken as text even where they look like expressions."""
    if value is None:
        return []
    entries = value if isinstance(value, Sequence) else [value]
    for entry in entries:
        if not isinstance(entry, (str, Expression)):
            raise syntax_error(location, "With takes names of exceptions", "a name or a list of names", entry)
    return [str(entry) for entry in entries]


def syntax_error(
    location: Location,
    message: str,
    expected: str | None = None,
    found: object = None,
    name: str = "SyntaxError",
    fix: str | None = None,
) -> SyntaxProblem:
    """A located complaint about a statement."""
    text = None if found is None else str(found)[:80]
    return SyntaxProblem(Problem(location.file, location.line, location.column, message, expected, text, fix), name)
