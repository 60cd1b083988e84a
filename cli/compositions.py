"""Files with compositions: lists of application objects, with placeholders for what does not belong into a file."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cli import errors


def read(path: pathlib.Path, settings: Sequence[str] = ()) -> list[Any]:
    """The application objects of a YAML or JSON file; ``"{key}"`` values are filled from ``KEY=VALUE`` settings.

    Raises CommandError with the place of a syntax error, and for placeholders that nobody fills.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise errors.CommandError(f"{path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise errors.CommandError(f"{path}: expected UTF-8 text, found {error}.") from None
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise errors.CommandError(f"{path}: {error}") from None
    services = content.get("services") if isinstance(content, dict) else content
    if not isinstance(services, list) or not all(isinstance(item, dict) and "?" in item for item in services):
        raise errors.CommandError(
            f"{path}: expected a list of application objects, each with a '?' that holds type and id.",
            'Example: [{"?": {"type": "org.chandlery.InfluxDB", "id": "influx"}, "name": "metrics", ...}]',
        )
    values = dict(pair.partition("=")[::2] for pair in settings)
    missing: set[str] = set()
    filled = fill(services, values, missing)
    if missing:
        raise errors.CommandError(
            f"{path}: nothing was given for {', '.join(sorted(missing))}.",
            "Say it with " + " ".join(f"--set {name}=..." for name in sorted(missing)),
        )
    return list(filled)


PLACEHOLDER = re.compile(r"\{(\w+)\}")


def fill(value: Any, values: Mapping[str, str], missing: set[str]) -> Any:
    """`value` with every string that is one ``{key}`` replaced; keys without a value are added to `missing`."""
    if isinstance(value, list):
        return [fill(item, values, missing) for item in value]
    if isinstance(value, dict):
        return {key: fill(item, values, missing) for key, item in value.items()}
    placeholder = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    if placeholder is None:
        return value
    if placeholder[1] not in values:
        missing.add(placeholder[1])
    return values.get(placeholder[1], value)
