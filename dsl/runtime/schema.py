"""JSON schemas of what describes an object, and of what a model builder takes (spec/muranopl.md §22).

Made from the contracts as they are declared; no object is created but the metadata's, no method runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from yaql.language import expressions as tree

from dsl.compiler.contracts import STEPS
from dsl.compiler.trees import unwrapped
from dsl.errors import NoMethodFound
from dsl.runtime import sources
from dsl.runtime.classes import Method, MuranoClass
from dsl.runtime.library import Library
from dsl.runtime.metadata import Origin
from dsl.runtime.reflection import Argument
from dsl.runtime.schema_checks import constrain
from dsl.syntax import Expression

if TYPE_CHECKING:
    from dsl.runtime.program import Program

DRAFT = "http://json-schema.org/draft-04/schema#"
_META = "io.murano.metadata."
_TEXTS = {"title": _META + "Title", "description": _META + "Description", "helpText": _META + "HelpText"}


def schema(
    library: Library, class_name: str, method: str | None, version: str | None, package: str | None
) -> dict[str, Any]:
    """Schema of a class, or of the arguments of one of its methods."""
    program, cls = _opened(library, class_name, version, package)
    if method is None:
        return _guarded(program, lambda: _Schemas(program, cls).of_class())
    found = cls.find_method(method)
    if found is None:
        raise NoMethodFound(f'Method "{method}" is not found in {class_name}')
    return _guarded(program, lambda: _Schemas(program, cls).of_method(found))


def schemas(
    library: Library, class_name: str, methods: Iterable[str] | None, version: str | None, package: str | None
) -> dict[str, dict[str, Any]]:
    """Schemas of a class (under the empty name) and its model builders; `methods` chooses some of these names."""
    program, cls = _opened(library, class_name, version, package)
    wanted = None if methods is None else set(methods)

    def all_schemas() -> dict[str, dict[str, Any]]:
        maker = _Schemas(program, cls)
        result: dict[str, dict[str, Any]] = {}
        if wanted is None or "" in wanted:
            result[""] = maker.of_class()
        for name in cls.method_names():
            method = cls.find_method(name)
            if method is not None and (wanted is None or name in wanted) and maker.is_builder(method):
                result[name] = maker.of_method(method)
        return result

    return _guarded(program, all_schemas)


def _opened(library: Library, class_name: str, version: str | None, package: str | None) -> tuple[Program, MuranoClass]:
    from dsl.runtime.program import Program
    from dsl.runtime.runtime import Runtime

    program = Program(Runtime(library))
    return program, program.find_class(class_name, version, package).cls


def _guarded(program: Program, body: Any) -> Any:
    try:
        return program.guarded(body)
    finally:
        program.discard()


class _Schemas:
    def __init__(self, program: Program, cls: MuranoClass) -> None:
        self.program = program
        self.cls = cls

    def is_builder(self, method: Method) -> bool:
        if not (method.is_static and method.is_public):
            return False
        found = self.program.metadata.find(self.program.metadata.of_method(method), _META + "ModelBuilder")
        return found is not None and bool(found.values.get("enabled", True))

    def of_class(self) -> dict[str, Any]:
        metadata = self.program.metadata
        properties: dict[str, Any] = {}
        for name in self.cls.property_names():
            declared = self.cls.find_property(name)
            if declared is None or declared.usage not in ("In", "InOut"):
                continue
            declaration = sources.raw(declared.cls).properties[name]
            entry = self._contract(declaration.contract, declared.cls)
            if declaration.has_default:
                entry["default"] = _raw(declaration.default)
            properties[name] = {**entry, **self._hints(metadata.origins_of_property(self.cls, name), self.cls)}
        return self._object(properties, metadata.origins_of_class(self.cls), self.cls)

    def of_method(self, method: Method) -> dict[str, Any]:
        metadata = self.program.metadata
        properties: dict[str, Any] = {}
        codes = method.code.arguments if method.code is not None else ()
        raw = sources.raw(method.cls).methods[method.name].arguments if codes else ()
        for code, declaration in zip(codes, raw, strict=True):
            entry = self._contract(declaration.contract, method.cls)
            if declaration.has_default:
                entry["default"] = _raw(declaration.default)
            instances = metadata.of_argument(Argument(code, method))
            origins = [Origin(instance, method.cls) for instance in instances]
            properties[declaration.name] = {**entry, **self._hints(origins, self.cls)}
        return self._object(properties, metadata.origins_of_method(method), self.cls)

    def _object(self, properties: dict[str, Any], origins: list[Origin], cls: MuranoClass) -> dict[str, Any]:
        return {
            "$schema": DRAFT,
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            "formSections": _sections(origins, cls),
            **_texts(origins),
        }

    def _hints(self, origins: list[Origin], cls: MuranoClass) -> dict[str, Any]:
        """What forms make of the metadata."""
        result = _texts(origins)
        hidden = _first(origins, _META + "forms.Hidden")
        if hidden is not None:
            result["visible"] = bool(hidden.instance.values.get("visible", False))
        position = _first(origins, _META + "forms.Position")
        if position is not None:
            values = position.instance.values
            if values.get("section") is not None:
                result["formSection"] = values["section"]
            if values.get("index") is not None:
                result["formIndex"] = _weight(values["index"], position.cls, cls)
        return result

    # Contracts

    def _contract(self, contract: object, cls: MuranoClass) -> dict[str, Any]:
        if isinstance(contract, Expression):
            return self._expression(contract.tree, cls)
        if isinstance(contract, list):
            return self._list(contract, cls)
        if isinstance(contract, dict):
            return self._dict(contract, cls)
        return {"enum": [contract]}

    def _list(self, contract: list[Any], cls: MuranoClass) -> dict[str, Any]:
        entries = [entry for index, entry in enumerate(contract) if index == 0 or type(entry) is not int]
        items = [self._contract(entry, cls) for entry in entries]
        if not items:
            return {"type": "array"}
        if len(items) == 1:
            return {"type": "array", "items": items[0]}
        return {"type": "array", "items": items, "additionalItems": items[-1]}

    def _dict(self, contract: dict[Any, Any], cls: MuranoClass) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        extra: Any = not contract  # any mapping fits an empty contract
        for key, value in contract.items():
            if isinstance(key, Expression):
                extra = self._contract(value, cls)
            else:
                properties[str(key)] = self._contract(value, cls)
        return {"type": "object", "properties": properties, "additionalProperties": extra}

    def _expression(self, node: tree.Expression, cls: MuranoClass) -> dict[str, Any]:
        steps: list[tree.Function] = []
        node = unwrapped(node)
        while (
            isinstance(node, tree.BinaryOperator) and node.operator == "." and isinstance(node.args[1], tree.Function)
        ):
            steps.insert(0, node.args[1])
            node = unwrapped(node.args[0])
        result: dict[str, Any] = {}
        not_null = False
        for step in steps:
            if step.name == "notNull":
                not_null = True
            elif step.name in _SCALARS:
                result["type"] = [_SCALARS[step.name], "null"]
            elif step.name in ("class", "template"):
                result.update(self._reference(step, cls))
            elif step.name in ("owned", "notOwned"):
                result["owned"] = step.name == "owned"
            elif step.name == "check" and step.args:
                constrain(result, step.args[0])
        if not_null and isinstance(result.get("type"), list):
            result["type"] = result["type"][0]
        return result

    def _reference(self, step: tree.Function, cls: MuranoClass) -> dict[str, Any]:
        arguments: dict[str, tree.Expression] = {}
        for position, each in enumerate(step.args):
            if isinstance(each, tree.MappingRuleExpression):
                arguments[str(unwrapped(each.source).value)] = each.destination
            else:
                arguments[STEPS[step.name][position]] = each
        wanted = arguments.get("name") or arguments.get("type")
        result: dict[str, Any] = {"type": ["muranoObject", "null"]}
        name = _type_name(wanted)
        if name is not None:
            result["muranoType"] = cls.code.declaration.namespaces.resolve(name)
        if step.name == "template":
            result["owned"] = True
            excluded = unwrapped(arguments["excludeProperties"]) if "excludeProperties" in arguments else None
            if isinstance(excluded, tree.ListExpression):
                result["excludedProperties"] = [str(unwrapped(each).value) for each in excluded.args]
        return result


_SCALARS = {"string": "string", "int": "integer", "bool": "boolean"}


def _type_name(node: tree.Expression | None) -> str | None:
    if node is None:
        return None
    node = unwrapped(node)
    if isinstance(node, tree.Constant):
        return str(node.value)
    if isinstance(node, (tree.BinaryOperator, tree.UnaryOperator)) and node.operator == ":":
        parts = [str(each.value) for each in node.args if isinstance(each, tree.KeywordConstant)]
        return ":".join(parts if len(parts) == 2 else ["", *parts])
    return None


def _first(origins: list[Origin], name: str) -> Origin | None:
    return next((each for each in origins if each.instance.cls.name == name), None)


def _texts(origins: list[Origin]) -> dict[str, Any]:
    found = {label: _first(origins, name) for label, name in _TEXTS.items()}
    return {label: each.instance.values.get("text") for label, each in found.items() if each is not None}


def _sections(origins: list[Origin], cls: MuranoClass) -> dict[str, Any]:
    """Form sections; a base class's come first among those of one index, and all are numbered anew."""
    sections: dict[str, Any] = {}
    weights: list[tuple[int, str]] = []
    for each in origins:
        if each.instance.cls.name != _META + "forms.Section":
            continue
        values = each.instance.values
        name = str(values.get("name"))
        if name in sections:
            continue
        sections[name] = {"title": values.get("title") if values.get("title") is not None else name}
        if values.get("index") is not None:
            weights.append((_weight(values["index"], each.cls, cls), name))
    for index, (_, name) in enumerate(sorted(weights)):
        sections[name]["index"] = index
    return sections


def _weight(index: int, declaring: MuranoClass, cls: MuranoClass) -> int:
    return (index + 1) * len(cls.lineage) - _distance(declaring, cls)


def _distance(ancestor: MuranoClass, cls: MuranoClass) -> int:
    """Steps of inheritance from a class up to an ancestor."""
    distance, level = 0, [cls]
    while level and ancestor not in level:
        level = [parent for each in level for parent in each.parents]
        distance += 1
    return distance


def _raw(value: Any) -> Any:
    """A declaration's value as JSON; expressions as text."""
    if isinstance(value, Expression):
        return value.text
    if isinstance(value, dict):
        return {str(key): _raw(item) for key, item in value.items()}
    return [_raw(item) for item in value] if isinstance(value, list) else value
