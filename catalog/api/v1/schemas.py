"""JSON schemas of classes, for forms. spec/api-v1 §1.14."""

from __future__ import annotations

from typing import Any

from catalog.api.request import Request
from catalog.api.v1.actions import lock_of, version_spec


def show(request: Request) -> Any:
    """GET /schemas/{class}[/{methods}]: `{"": <schema of the class>, "<model builder>": ...}`."""
    class_name = request.values["class"]
    request.authorize("get_schema", class_name=class_name)
    version = version_spec(request.params.get("classVersion"))
    package_name = request.params.get("packageName") or None
    methods = [name for name in request.values.get("methods", "").split(",") if name]
    return request.services.engine.schema(
        class_name=class_name,
        method_names=methods or None,
        class_version=version,
        package_name=package_name,
        lock=lock_of(request, class_name, version, package_name),
        project_id=request.caller.project_id,
    )
