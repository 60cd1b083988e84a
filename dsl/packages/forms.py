"""UI definitions, as far as they can be judged without a dashboard (spec/dynamic-ui.md §1 to §7).

Dashboards ignore attributes they do not know and take a missing field's value as null, so that a slip of the pen goes
unnoticed until somebody fills in the form. Names are complained about only if they are nearly a known one.
"""

from __future__ import annotations

from collections.abc import Iterator

from yaql.language import expressions as tree

from dsl import syntax
from dsl.errors import PackageError, Problem, SyntaxProblem
from dsl.packages import spelling
from dsl.packages.package import Package
from dsl.packages.versions import Version
from dsl.syntax import Expression, Location, Mapping, Sequence

NEWEST = (2, 4)
SECTIONS = ("Version", "Templates", "Parameters", "ParametersSource", "Application", "Forms")
FIELD_TYPES = (
    "string", "text", "integer", "boolean", "password", "clusterip", "databaselist", "choice", "flavor", "keypair",
    "image", "azone", "network", "securitygroup", "volume", "zone", "floatingip", "domain",
)  # fmt: skip
FIELD_ATTRIBUTES = (
    "name", "type", "label", "description", "descriptionTitle", "helpText", "initial", "required", "hidden", "enabled",
    "minLength", "maxLength", "minValue", "maxValue", "regexpValidator", "validators", "errorMessages", "widgetMedia",
    "widgetAttrs", "choices", "confirmInput", "requirements", "imageType", "filter", "murano_networks", "allow_auto",
    "include_subnets", "include_volumes", "include_snapshots", "emptyValueMessage",
)  # fmt: skip
FORM_KEYS = ("fields", "validators", "region", "name")


def check_forms(package: Package, *, thorough: bool = True) -> Iterator[Problem]:
    """What is wrong with the UI definition of a package, if it has one.

    Not `thorough` means only what no dashboard can read.
    """
    place = package.location_of(f"UI/{package.manifest.ui}")
    try:
        text = package.ui_definition
        if text is None:
            return
        documents = syntax.load(text, place)
    except PackageError as error:
        yield from error.problems
        return
    except SyntaxProblem as error:
        yield error.problem
        return
    definition = documents[0] if documents else None
    if not isinstance(definition, Mapping):
        yield Problem(place, 1, 1, "the UI definition must be a mapping", "keys Application and Forms")
        return
    if "Application" not in definition:
        yield Problem(place, 1, 1, "the UI definition has no Application", fix="add the object model it is to build")
    forms = Sequence() if definition.get("Forms") is None else definition["Forms"]
    if not isinstance(forms, Sequence) or not all(isinstance(form, Mapping) and len(form) == 1 for form in forms):
        where = definition.value_location("Forms")
        yield _problem(where, "Forms must be a list", "mappings with one key, the form's name")
        return
    if thorough:
        yield from _misspelt(definition, SECTIONS, "the UI definition")
        yield from _check_version(definition)
        yield from _check_content(definition, forms)


def _check_content(definition: Mapping, forms: Sequence) -> Iterator[Problem]:
    fields: dict[str, list[str]] = {}
    for form in forms:
        name = next(iter(form))
        fields[str(name)] = []
        yield from _check_form(form, name, fields[str(name)])
    for section in ("Application", "Templates", "Parameters"):
        yield from _check_names(definition.get(section), fields)


def _check_version(definition: Mapping) -> Iterator[Problem]:
    value = definition.get("Version")
    if value is None:
        return
    try:
        version = Version.coerce(str(value))
    except ValueError:
        version = None
    if version is None or version.major != NEWEST[0] or (version.major, version.minor) > NEWEST:
        newest = ".".join(map(str, NEWEST))
        where = definition.value_location("Version")
        message = "no dashboard knows this version of UI definitions"
        yield Problem(where.file, where.line, where.column, message, f"2.0 to {newest}", str(value))


def _check_form(form: Mapping, name: object, names: list[str]) -> Iterator[Problem]:
    content = form[name]
    if not isinstance(content, Mapping):
        yield _problem(form.value_location(name), f"the form {name} must be a mapping", "the key fields")
        return
    yield from _misspelt(content, FORM_KEYS, f"the form {name}")
    fields = content.get("fields")
    if fields is None:
        return
    if not isinstance(fields, Sequence):
        yield _problem(content.value_location("fields"), f"the fields of form {name} must be a list", "mappings")
        return
    for index, field in enumerate(fields):
        if isinstance(field, Mapping):
            names.append(str(field.get("name")))
            yield from _check_field(field, f"a field of form {name}")
        else:
            where = fields.item_location(index)
            yield _problem(where, f"each field of form {name} must be a mapping", "name and type")


def _check_field(field: Mapping, what: str) -> Iterator[Problem]:
    if not isinstance(field.get("name"), str) or not field["name"]:
        fix = "add name, the word by which $.form.name refers to it"
        yield _problem(field.location, f"{what} has no name", fix=fix)
    else:
        what = f"the field {field['name']}"
    kind = field.get("type")
    if kind is None:
        yield _problem(field.location, f"{what} has no type", "string, integer, boolean, ... or the name of a class")
    elif not isinstance(kind, (str, Sequence, Expression)):
        yield _problem(field.value_location("type"), f"the type of {what} must be a name", "a name or a list of names")
    elif isinstance(kind, str) and kind not in FIELD_TYPES:
        meant = spelling.close_to(kind, FIELD_TYPES)
        if meant is not None:
            fix = f"did you mean {meant}? Other words are names of classes"
            yield _problem(field.value_location("type"), f"the type of {what} is unknown: {kind}", fix=fix)
    yield from _misspelt(field, FIELD_ATTRIBUTES, what)


def _misspelt(table: Mapping, known: tuple[str, ...], what: str) -> Iterator[Problem]:
    for key in table:
        if isinstance(key, str) and key not in known:
            meant = spelling.close_to(key, known)
            if meant is not None and meant not in table:
                fix = f"did you mean {meant}?"
                yield _problem(table.key_location(key), f"the key {key} of {what} is ignored", fix=fix)


def _check_names(structure: object, fields: dict[str, list[str]]) -> Iterator[Problem]:
    """`$.form.field` of a form or field that does not exist, where a similar one does: its value would be null."""
    pending: list[object] = [structure]
    seen: set[int] = set()
    while pending:
        item = pending.pop()
        if isinstance(item, Expression):
            yield from _check_expression(item, fields)
        elif isinstance(item, (Mapping, Sequence)) and id(item) not in seen:
            seen.add(id(item))
            pending.extend([*item.keys(), *item.values()] if isinstance(item, Mapping) else item)


def _check_expression(expression: Expression, fields: dict[str, list[str]]) -> Iterator[Problem]:
    pending: list[object] = [expression.tree]
    while pending:
        node = pending.pop()
        pending.extend(syntax.children(node))
        if not (isinstance(node, tree.BinaryOperator) and node.operator == "."):
            continue
        form, field = _member(node.args[0]), node.args[1]
        if form is None or not isinstance(field, tree.KeywordConstant):
            continue
        if form not in fields:
            message, meant = f"there is no form {form}", spelling.close_to(form, fields)
        elif field.value not in fields[form]:
            message = f"the form {form} has no field {field.value}"
            meant = spelling.close_to(field.value, fields[form])
        else:
            continue
        if meant is not None:
            place, fix = expression.location, f"did you mean {meant}?"
            yield Problem(place.file, place.line, place.column, message, fix=fix, level="warning")


def _member(node: object) -> str | None:
    """The name in `$.name`."""
    if isinstance(node, tree.BinaryOperator) and node.operator == ".":
        receiver, name = node.args
        is_this = isinstance(receiver, tree.GetContextValue) and receiver.path.value == "$"
        if is_this and isinstance(name, tree.KeywordConstant):
            return str(name.value)
    return None


def _problem(place: Location, message: str, expected: str | None = None, fix: str | None = None) -> Problem:
    return Problem(place.file, place.line, place.column, message, expected, None, fix)
