"""io.murano.system.Resources: files from the `Resources` folder of a package.

Which package: that of the class named `owner` if given, else of the code that made this object, and when a method is
called on the class itself, of the calling code. spec/core-library §9.4.
"""

from __future__ import annotations

import json

import yaml

import dsl
from engine.system import plans

MAX_DEPTH = 100  # of YAML; no value of a package may be deeper


@dsl.native
class Resources:
    def __init__(self, this: dsl.ObjectHandle) -> None:
        self._package = this.caller_package

    @dsl.method(static=True, instance=True)
    def string(self: Resources | None, name: str, owner: str | None = None, binary: bool = False) -> object:
        """Text with line ends normalised to LF; with `binary` the bytes as they are. Raises FileNotFoundError."""
        content = _read(self, name, owner)
        return content if binary else _text(content, name)

    @dsl.method(static=True, instance=True)
    def base64(self: Resources | None, name: str, owner: str | None = None) -> str:
        """The bytes as Base64 without line breaks."""
        return plans.encode(_read(self, name, owner))

    @dsl.method(static=True, instance=True)
    def json(self: Resources | None, name: str, owner: str | None = None) -> object:
        """Raises ValueError, naming file and place, for what is no JSON."""
        try:
            return json.loads(_text(_read(self, name, owner), name))
        except json.JSONDecodeError as error:
            raise ValueError(f"Resources/{name}:{error.lineno}:{error.colno}: not JSON: {error.msg}")
        except RecursionError:
            raise ValueError(f"Resources/{name}: lists or objects inside each other are too deep to be read") from None

    @dsl.method(static=True, instance=True)
    def yaml(self: Resources | None, name: str, owner: str | None = None) -> object:
        """Timestamps stay text. Raises ValueError, naming file and place, for what is no YAML."""
        try:
            return _yaml(_text(_read(self, name, owner), name))
        except yaml.YAMLError as error:
            raise ValueError(f"Resources/{name}: not YAML: {error}")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe, and without dates: package code has no use for date objects."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(text: str) -> object:
    """Raises YAMLError, also for what is so deep that libyaml's binding would overrun the stack of the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            where = f"line {event.start_mark.line + 1}" if event.start_mark else "some line"
            raise yaml.YAMLError(f"{where}: lists or mappings are inside each other more than {MAX_DEPTH} deep")
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a safe one


def _read(resources: Resources | None, name: str, owner: str | None) -> bytes:
    if owner is not None:
        package = dsl.package_of(owner)
    elif resources is not None:
        package = resources._package
    else:
        package = dsl.caller_package()
    if package is None:
        raise FileNotFoundError(f"Resources/{name}: the code that asks for it belongs to no package")
    return package.resource(name)


def _text(content: bytes, name: str) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"Resources/{name}: not UTF-8 at byte {error.start}; read it with binary => true")
    return text.replace("\r\n", "\n").replace("\r", "\n")
