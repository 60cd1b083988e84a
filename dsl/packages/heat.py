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
        f"UI/{manifest.ui}": _ui_text(manifest, template, parameters).encode(),
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
        checks = tuple(check for constraint in constraints for check in _checks(constraint))
        label = str(spec.get("label") or name.replace("_", " ").title())
        result.append(
            _Parameter(name, kind, label, str(spec.get("description") or ""), spec.get("default"), checks, constraints)
        )
    if problems:
        raise PackageError(problems)
    return result


def _checks(constraint: dict) -> Iterable[tuple[str, str]]:
    message = str(constraint.get("description") or "")
    allowed = constraint.get("allowed_values")
    if isinstance(allowed, list):
        yield f"$ in list({', '.join(_literal(value) for value in allowed)})", message
    for key, measure in (("length", "len($)"), ("range", "$")):
        bounds = constraint.get(key)
        if isinstance(bounds, dict):
            for bound, operator in (("min", ">="), ("max", "<=")):
                if isinstance(bounds.get(bound), int):
                    yield f"{measure} {operator} {bounds[bound]}", message
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
        output_contract=_mapping({str(name): "$.string()" for name in outputs or {}}),
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
      - If: $.hotEnvironment != null
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
          - $.templateOutputs: $stack.output()
          - !yaql "$reporter.report($this, 'The Heat stack is deployed')"
  .destroy:
    Body:
      - $stack: $.stackOf()
      - $stack.delete()
"""


def _contract(parameter: _Parameter) -> str:
    contract = _CONVERSIONS[parameter.type]
    for predicate, message in parameter.checks:
        text = f", {_literal(message)}" if message else ""
        contract += f".check($ = null or {predicate}{text})"
    return contract


def _ui_text(manifest: Manifest, template: dict, parameters: list[_Parameter]) -> str:
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
    forms = [{"group0": {"fields": first}}]
    sources: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        forms.append({f"group{number}": {"fields": [_field(parameter) for parameter in group]}})
        sources.update({parameter.name: f"$.group{number}.{parameter.name}" for parameter in group})
    header = {"type": manifest.full_name, "package": manifest.full_name, "classVersion": str(manifest.version)}
    return (
        "Version: 2\nApplication:\n"
        f"  '?': {_text(header)}\n  name: !yaql \"$.group0.name\"\n"
        f"  templateParameters: {_mapping(sources)}\n"
        f"Forms: {_text(forms)}\n"
    )


def _field(parameter: _Parameter) -> dict[str, object]:
    field: dict[str, object] = {
        "name": parameter.name,
        "label": parameter.label,
        "type": _FIELD_TYPES.get(parameter.type, "string"),
        "required": parameter.default is None,
    }
    if parameter.description:
        field["description"] = parameter.description
    if parameter.default is not None:
        default = parameter.default
        field["initial"] = default if isinstance(default, (str, int, float)) else _text(default)
    for constraint in parameter.constraints:
        _constrain(field, constraint)
    return field


def _constrain(field: dict[str, object], constraint: Mapping[str, object]) -> None:
    for key, suffix in (("length", "Length"), ("range", "Value")):
        bounds = constraint.get(key)
        if isinstance(bounds, dict):
            field.update(
                {bound + suffix: bounds[bound] for bound in ("min", "max") if isinstance(bounds.get(bound), int)}
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
