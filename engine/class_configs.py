"""Configuration of classes by the operator: one file per class, JSON or YAML (spec/muranopl.md §21).

`[engine] class_configs` is the folder. For version 1.2.3 of `ns.Class` the first of these counts, each as `.json`
before `.yaml`: `ns.Class-1.2.3`, `ns.Class-1.2`, `ns.Class-1`, and for major version 0 also `ns.Class`.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

_NAME = re.compile(r"[A-Za-z0-9_.]+")  # of a class; anything else could leave the folder

Configurations = Callable[[str, Any], Mapping[str, Any] | None]


class ClassConfigError(Exception):
    """A class's configuration can not be used; the message names the file."""


def in_folder(folder: str | None) -> Configurations:
    """What `dsl.Runtime` asks for a class's configuration; answers None where there is none.

    Which files there are is looked up now, once: a program asks for every property of every class.
    """
    root = pathlib.Path(folder or os.devnull)
    there = {file.name for file in root.iterdir() if file.is_file()} if root.is_dir() else set()

    def configuration(class_name: str, version: Any) -> Mapping[str, Any] | None:
        if not there or _NAME.fullmatch(class_name) is None:
            return None
        for name in _names(class_name, version):
            for suffix in (".json", ".yaml"):
                if name + suffix in there:
                    return _read(root / (name + suffix))
        return None

    return configuration


def _names(class_name: str, version: Any) -> Iterator[str]:
    major, minor, patch = version.major, version.minor, version.patch
    yield f"{class_name}-{major}.{minor}.{patch}"
    yield f"{class_name}-{major}.{minor}"
    yield f"{class_name}-{major}"
    if major == 0:
        yield class_name


def _read(file: pathlib.Path) -> Mapping[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ClassConfigError(f"{file}: can not be read: {error}") from error
    if not isinstance(content, dict):
        raise ClassConfigError(f"{file}: expected a mapping of properties to values, found {type(content).__name__}")
    return content
