"""Packages that are nothing but a Heat template: their class and user interface are generated (spec/muranopl.md §1.2).

The class is generated as MuranoPL text, so that it is read, compiled and reported on like any other class.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dsl.errors import PackageError, Problem
from dsl.packages.manifest import Manifest

CLASS_FILE = "Classes/generated.yaml"  # where the generated class pretends to stand
_FILES = "Resources/HotFiles/"
_ENVIRONMENTS = "Resources/HotEnvironments/"


def generate(manifest: Manifest, template: object, file: str, content: bytes, names: Iterable[str]) -> dict[str, bytes]:
    """Path -> content of what is generated: the class, the UI definition, the template as a resource.

    Raises PackageError for a template that lacks `resources` or has parameters MuranoPL can not express.
    """
    if not isinstance(template, dict) or not isinstance(template.get("resources"), dict):
        raise PackageError([Problem(file, 1, 1, "the Heat template has no resources", "a mapping `resources`")])
    parameters = _parameters(template, file)
    resource_names = list(names)
    return {
        CLASS_FILE: _class_text(manifest, template, parameters, resource_names).encode(),
        f"UI/{manifest.ui}": _ui_text(manifest, template, parameters, resource_names).encode(),
        f"Resources/{manifest.full_name}": content,
    }


@dataclass(frozen=True)
class _Parameter:
    name: str
    type: str
    label: str
    description: str
    default: object
    checks: tuple[tuple[str, str], ...]  # predicate over `$`, message
    constraints: tuple[Mapping[str, object], ...]
    hidden: bool = False
    fractional: bool = False  # a number that need not be whole: MuranoPL's contracts have none for it


_CONVERSIONS = {
    "string": "$.string()",
    "comma_delimited_list": "$.string()",
    "json": "$.string()",
    "number": "$.int()",
    "boolean": "$.bool()",
}
_FIELD_TYPES = {"number": "integer", "boolean": "boolean"}


def _parameters(template: dict, file: str) -> list[_Parameter]:
    table = template.get("parameters") or {}
    if not isinstance(table, dict):
        raise PackageError([Problem(file, None, None, "parameters must be a mapping")])
    result: list[_Parameter] = []
    problems: list[Problem] = []
    for name, spec in table.items():
        kind = spec.get("type", "string") if isinstance(spec, dict) else None
        if not isinstance(name, str) or not isinstance(kind, str) or kind not in _CONVERSIONS:
            expected = "one of " + ", ".join(_CONVERSIONS)
            problems.append(Problem(file, None, None, f"unknown type of parameter {name}", expected, str(kind)))
            continue
        constraints = tuple(item for item in _items(spec.get("constraints")) if isinstance(item, dict))
        fractional = kind == "number" and _is_fractional(spec.get("default"), constraints)
        checks = tuple(check for constraint in constraints for check in _checks(constraint, kind, fractional))
        label = str(spec.get("label") or name.replace("_", " ").title())
        result.append(
            _Parameter(
                name,
                kind,
                label,
                str(spec.get("description") or ""),
                _default(kind, spec.get("default")),
                checks,
                constraints,
                hidden=str(spec.get("hidden", False)).lower() == "true",
                fractional=fractional,
            )
        )
    if problems:
        raise PackageError(problems)
    return result


def _default(kind: str, value: object) -> object:
    """The default as it is typed into a form: lists and maps are texts there."""
    if kind == "comma_delimited_list" and isinstance(value, list):
        return ",".join(str(item) for item in value)
    if kind == "json" and isinstance(value, (dict, list)):
        return _text(value)
    if kind == "boolean" and isinstance(value, str):
        return value.lower() in ("true", "t", "yes", "on", "1", "y")
    if kind == "number" and isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return value
    return value


def _is_fractional(default: object, constraints: Iterable[Mapping[str, object]]) -> bool:
    bounds = [constraint.get("range") for constraint in constraints]
    values = [default, *(value for each in bounds if isinstance(each, dict) for value in each.values())]
    return any(isinstance(value, float) or (isinstance(value, str) and "." in value) for value in values)


def _checks(constraint: dict, kind: str, fractional: bool) -> Iterable[tuple[str, str]]:
    """What Heat will check is checked before anything is made, as far as MuranoPL can say it."""
    message = str(constraint.get("description") or "")
    is_list = kind == "comma_delimited_list"
    allowed = constraint.get("allowed_values")
    if isinstance(allowed, list):
        values = f"list({', '.join(_literal(value) for value in allowed)})"
        yield (f"$.split(',').all(trim($) in {values})" if is_list else f"$ in {values}"), message
    measures = {"length": "$.split(',').len()" if is_list else "len($)", "range": "float($)" if fractional else "$"}
    for key, measure in measures.items():
        bounds = constraint.get(key)
        if isinstance(bounds, dict) and not (key == "length" and kind == "json"):  # of a map it is that of its keys
            for bound, operator in (("min", ">="), ("max", "<=")):
                if _is_number(bounds.get(bound)):
                    yield f"{measure} {operator} {bounds[bound]}", message
    modulo = constraint.get("modulo")
    if isinstance(modulo, dict) and isinstance(modulo.get("step"), int) and modulo["step"]:
        yield f"$ mod {modulo['step']} = {int(modulo.get('offset') or 0)}", message
    pattern = constraint.get("allowed_pattern")
    if isinstance(pattern, str):
        yield f"matches($, {_literal('^(?:' + pattern + ')$')})", message


def _class_text(manifest: Manifest, template: dict, parameters: list[_Parameter], names: list[str]) -> str:
    free_form = any(name.startswith(_ENVIRONMENTS) for name in names)
    contracts = {} if free_form else {parameter.name: _contract(parameter) for parameter in parameters}
    outputs = template.get("outputs") if isinstance(template.get("outputs"), dict) else {}
    files = {name.removeprefix(_FILES): name.removeprefix("Resources/") for name in names if name.startswith(_FILES)}
    return _CLASS.format(
        parameter_contract=_mapping(contracts),
        output_contract=_mapping({str(name): "$" for name in outputs or {}}),
        template=_yaql(f"$resources.yaml({_literal(manifest.full_name)})"),
        files="{"
        + ", ".join(f"{_text(k)}: {_yaql(f'$resources.string({_literal(v)})')}" for k, v in files.items())
        + "}",
    )


_CLASS = """\
Extends: io.murano.Application
Properties:
  generatedHeatStackName: {{Contract: $.string(), Usage: Out}}
  hotEnvironment: {{Contract: $.string()}}
  name: {{Contract: $.string().notNull()}}
  templateParameters: {{Contract: {parameter_contract}, Default: {{}}}}
  templateOutputs: {{Contract: {output_contract}, Usage: Out, Default: {{}}}}
Methods:
  stackOf:
    Body:
      - $environment: $.find('io.murano.Environment').require()
      - $name: $.getAttr(generatedHeatStackName)
      - If: $name = null
        Then:
          - $name: randomName() + '_' + id($environment)
          - $.setAttr(generatedHeatStackName, $name)
      - Return: !yaql "new('io.murano.system.HeatStack', $environment, name => $name)"
  deploy:
    Body:
      - $environment: $.find('io.murano.Environment').require()
      - $reporter: new('io.murano.system.StatusReporter', $environment)
      - $resources: new('io.murano.system.Resources')
      - $stack: $.stackOf()
      - !yaql "$reporter.report($this, 'Deploying the Heat stack')"
      - $given: $.templateParameters
      - $template: {template}
      - $stack.setTemplate($template)
      - $stack.setParameters($given.keys().where($given.get($) != null).toDict($, $given.get($)))
      - $files: {files}
      - $stack.setFiles($files)
      - If: $.hotEnvironment != null and $.hotEnvironment != ''
        Then:
          - !yaql "$stack.setHotEnvironment($resources.string('HotEnvironments/' + $.hotEnvironment))"
      - Try:
          - $stack.push()
        Catch:
          - As: e
            Do:
              - !yaql "$reporter.report_error($this, $e.message)"
              - Rethrow:
        Else:
          - $outputs: $stack.output()
          - $.templateOutputs: $outputs.keys().toDict($, $this.shown($outputs.get($)))
          - !yaql "$reporter.report($this, 'The Heat stack is deployed')"
  # Lists and maps stay what they are; all else is text.
  shown:
    Arguments:
      - value: {{Contract: $}}
    Body:
      - Match:
          true: {{Return: 'True'}}
          false: {{Return: 'False'}}
        Value: $value
      - If: $value = null or isString($value) or isList($value) or isDict($value)
        Then:
          - Return: $value
      - Return: str($value)
  .destroy:
    Body:
      - $stack: $.stackOf()
      - $stack.delete()
"""


_FRACTION = "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)$"


def _contract(parameter: _Parameter) -> str:
    contract = _CONVERSIONS[parameter.type]
    if parameter.fractional:
        contract = f"$.check($ = null or matches(str($), {_literal(_FRACTION)}), 'a number is expected')"
    for predicate, message in parameter.checks:
        text = f", {_literal(message)}" if message else ""
        contract += f".check($ = null or {predicate}{text})"
    return contract


def _ui_text(manifest: Manifest, template: dict, parameters: list[_Parameter], names: list[str]) -> str:
    known = {parameter.name: parameter for parameter in parameters}
    groups: list[list[_Parameter]] = []
    for group in _items(template.get("parameter_groups")):
        listed = _items(group.get("parameters") if isinstance(group, dict) else None)
        chosen = [known.pop(name) for name in listed if isinstance(name, str) and name in known]
        if chosen:
            groups.append(chosen)
    if known:
        groups.append(list(known.values()))
    first = [
        {"name": "title", "type": "string", "required": False, "hidden": True, "description": manifest.description},
        {"name": "name", "type": "string", "label": "Application Name"},
    ]
    environments = sorted(name.removeprefix(_ENVIRONMENTS) for name in names if name.startswith(_ENVIRONMENTS))
    if environments:
        first.append(
            {
                "name": "hotEnvironment",
                "type": "choice",
                "label": "Heat environment",
                "required": False,
                "choices": [["", "none"], *([name, name] for name in environments)],
            }
        )
    forms = [{"group0": {"fields": first}}]
    sources: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        forms.append({f"group{number}": {"fields": [_field(parameter) for parameter in group]}})
        sources.update({parameter.name: f"$.group{number}.{parameter.name}" for parameter in group})
    header = {"type": manifest.full_name, "package": manifest.full_name, "classVersion": str(manifest.version)}
    version = "2.3" if any(parameter.hidden for parameter in parameters) else "2"  # 2.3 knows confirmInput
    environment = '  hotEnvironment: !yaql "$.group0.hotEnvironment"\n' if environments else ""
    return (
        f"Version: {version}\nApplication:\n"
        f"  '?': {_text(header)}\n  name: !yaql \"$.group0.name\"\n{environment}"
        f"  templateParameters: {_mapping(sources)}\n"
        f"Forms: {_text(forms)}\n"
    )


def _field(parameter: _Parameter) -> dict[str, object]:
    field: dict[str, object] = {
        "name": parameter.name,
        "label": parameter.label,
        "type": "string" if parameter.fractional else _FIELD_TYPES.get(parameter.type, "string"),
        "required": parameter.default is None,
    }
    if parameter.description:
        field["description"] = parameter.description
    if parameter.default is not None and not parameter.hidden:  # the template has it; a form would show it
        default = parameter.default
        text = str(default) if parameter.fractional else default
        field["initial"] = text if isinstance(text, (str, int)) else _text(text)
    if parameter.type in ("string", "number", "boolean"):
        for constraint in parameter.constraints:
            _constrain(field, constraint)
    if parameter.hidden and field["type"] == "string":
        # Without a validator of its own a password field asks for digits, capitals and the like.
        field = {"regexpValidator": r"^[\s\S]*$", **field, "type": "password", "confirmInput": False}
    return field


def _constrain(field: dict[str, object], constraint: Mapping[str, object]) -> None:
    for key, suffix in (("length", "Length"), ("range", "Value")):
        bounds = constraint.get(key)
        if isinstance(bounds, dict):
            field.update(
                {
                    bound + suffix: bounds[bound]
                    for bound in ("min", "max")
                    if isinstance(bounds.get(bound), int) and not (key == "range" and field["type"] == "string")
                }
            )
    allowed = constraint.get("allowed_values")
    if isinstance(allowed, list):
        field["type"] = "choice"
        field["choices"] = [[value, str(value)] for value in allowed]
    pattern = constraint.get("allowed_pattern")
    if isinstance(pattern, str):
        field["regexpValidator"] = f"^(?:{pattern})$"
        if constraint.get("description"):
            field["errorMessages"] = {"invalid": str(constraint["description"])}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _items(value: object) -> list:
    return value if isinstance(value, list) else []


def _mapping(expressions: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{_text(key)}: {_yaql(value)}" for key, value in expressions.items()) + "}"


def _yaql(expression: str) -> str:
    return f"!yaql {_text(expression)}"


def _text(value: object) -> str:
    """A value as JSON, which is YAML too."""
    return json.dumps(_with_text_keys(value), default=str)


def _with_text_keys(value: object) -> object:
    """YAML knows keys that JSON does not: dates, for one."""
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _literal(value: object) -> str:
    """A value as a MuranoPL literal."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
