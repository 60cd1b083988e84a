"""One conformance case: its packages, its steps, and what they gave in the form that `expected.json` has."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonpatch
import yaml
from conformance_engine import Engine, plain

from dsl.errors import PackageError, SyntaxProblem
from dsl.packages import Package, open_package
from dsl.packages.archives import MemoryFiles
from dsl.packages.declarations import read_classes

PROJECT = Path(__file__).parents[2]


class Case:
    """A case directory; `run()` carries out its steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "case.json"
        self.data: dict[str, Any] = _read(path if path.exists() else folder / "case.yaml")
        self.steps: list[dict[str, Any]] = list(self.data["steps"])
        if not self.steps or not {"load", "reload"} & self.steps[0].keys():
            self.steps.insert(0, {"load": True})
        self.trace: list[Any] = []
        self.engine: Engine | None = None
        self.stored: dict[str, Any] | None = None  # what the last model or finalize step serialised
        self.failed = False  # whether the last load failed

    def expected(self) -> dict[str, Any]:
        return _read(self.folder / "expected.json")

    def run(self) -> dict[str, Any]:
        """All steps; the outcome has the form of `expected.json`, ids and paths normalised."""
        packages = self.packages()
        entries = []
        try:
            for step in self.steps:
                entries.append(self._step(step, packages))
        finally:
            if self.engine is not None:
                self.engine.discard()
        return _normalised({"steps": entries}, self.folder, json.dumps(self.data))

    def packages(self) -> list[Package]:
        """Libraries, the case's packages, and the synthetic one of its bare classes. Broken ones are left out."""
        found: list[Package] = []
        for name in self.data.get("libraries", ["io.murano"]):
            found.extend(_library(name))
        for folder in sorted((self.folder / "packages").glob("*")):
            try:
                found.append(open_package(folder))
            except PackageError:
                continue  # as the original's loader, which skips what it can not load
        synthetic = self._synthetic()
        return [*found, *([] if synthetic is None else [synthetic])]

    def _synthetic(self) -> Package | None:
        files = sorted((self.folder / "classes").glob("*.yaml"))
        if not files:
            return None
        description = self.data.get("package", {})
        content: dict[str, bytes] = {}
        classes: dict[str, str] = {}
        for file in files:
            content[f"Classes/{file.name}"] = file.read_bytes()
            for name in _named_classes(file):
                classes[name] = file.name
        manifest = {
            "FullName": description.get("name", "conformance"),
            "Version": description.get("version", "0.0.0"),
            "Format": str(description.get("format", "1.4")),
            "Type": "Application",
            "Require": description.get("require", {}),
            "Classes": classes,
        }
        text = yaml.safe_dump(manifest).encode()
        if "meta" in description:  # may hold references like `m:Title`, which are plain scalars
            text += f"Meta: {json.dumps(description['meta'])}\n".encode()
        content["manifest.yaml"] = text
        return Package(MemoryFiles("", content))

    def _step(self, step: dict[str, Any], packages: list[Package]) -> dict[str, Any]:
        kind = next(key for key in step if key in _KINDS)
        entry: dict[str, Any] = {"step": kind}
        if kind in ("call", "action"):
            entry["method"] = step[kind]
        if self.failed and kind not in ("load", "reload"):
            return {**entry, "skipped": True}
        self.trace.clear()
        try:
            entry["result"] = self._perform(kind, step, packages)
        except Exception as error:
            entry["error"] = Engine.described_error(error, with_stack=bool(step.get("stack")))
            if kind in ("load", "reload"):
                self.failed = True
        if self.trace:
            entry["trace"] = list(self.trace)
        return entry

    def _perform(self, kind: str, step: dict[str, Any], packages: list[Package]) -> Any:
        if kind in ("load", "reload"):
            return self._load(self._model(step, kind), packages)
        engine = self.engine
        assert engine is not None
        if kind in ("call", "action"):
            return engine.call(step, exposed_only=kind == "action")
        if kind == "model":
            self.stored = engine.dump()
            return _part(self.stored, step["model"])
        if kind == "finalize":
            self.stored = engine.finalize()
            return None if self.stored is None else _part(self.stored, step["finalize"])
        if kind == "gc":
            engine.collect()
            return None
        if kind == "schema":
            return engine.schema(step["schema"])
        if kind == "classes":
            return engine.classes(step["classes"])
        if kind == "fixations":
            return engine.fixations()
        return engine.exists(step["exists"])

    def _load(self, model: dict[str, Any], packages: list[Package]) -> Any:
        self.failed = False
        if self.engine is not None:
            self.engine.discard()
        self.engine = Engine(packages, self.trace, self.data.get("fixations", {}), self._configuration())
        return self.engine.load(model)

    def _model(self, step: dict[str, Any], kind: str) -> dict[str, Any]:
        if kind == "reload":
            assert self.stored is not None, "reload needs a model or finalize step before it"
            model = copy.deepcopy(self.stored)
            patch = step["reload"].get("patch") if isinstance(step["reload"], dict) else None
            return jsonpatch.apply_patch(model, patch) if patch else model
        given = step["load"]
        if given is True:
            given = self.data.get("model")
            if given is None:
                given = next((_read(path) for path in sorted(self.folder.glob("model.*"))), None)
        if isinstance(given, str):
            given = _read(self.folder / given)
        if given is None:
            return {"Objects": None}
        return given if {"Objects", "ObjectsCopy", "Attributes"} & given.keys() else {"Objects": given}

    def _configuration(self) -> Callable[[str, Any], Mapping[str, Any] | None]:
        folder = self.folder / "configs"

        def read(class_name: str, version: Any) -> Mapping[str, Any] | None:
            suffixes = [f"-{version.major}.{version.minor}.{version.patch}", f"-{version.major}.{version.minor}"]
            suffixes += [f"-{version.major}", *([""] if version.major == 0 else [])]
            for suffix in suffixes:
                for extension in ("json", "yaml"):
                    path = folder / f"{class_name}{suffix}.{extension}"
                    if path.exists():
                        return _read(path)
            return None

        return read


_KINDS = ("load", "reload", "call", "action", "model", "gc", "finalize", "schema", "classes", "fixations", "exists")


def _library(name: str) -> list[Package]:
    folder = PROJECT / "packages" / name
    return [open_package(folder)] if (folder / "manifest.yaml").exists() else []


def _named_classes(file: Path) -> list[str]:
    """Full names of the classes of a file that have a Name; of a file that can not be read, what its lines say."""
    try:
        return [name for name in read_classes(file.read_bytes(), file.name, "") if name]
    except SyntaxProblem:
        text = file.read_text()
        names = re.findall(r"^Name:\s*(\S+)", text, re.MULTILINE)
        namespace = re.search(r"^\s*=:\s*(\S+)", text, re.MULTILINE) or re.search(r"\{=:\s*([\w.]+)", text)
        return [f"{namespace.group(1)}.{each}" if namespace and "." not in each else each for each in names]


def _part(model: dict[str, Any], part: object) -> Any:
    return plain(model if part in ("all", True) else model.get(str(part)))


def _read(path: Path) -> Any:
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)


def _normalised(outcome: Any, folder: Path, source: str) -> Any:
    """Generated ids become <id-1>, <id-2> ... in order of appearance, addresses and the case's path placeholders."""
    text = json.dumps(outcome, sort_keys=True)
    seen: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        found = match.group()
        if found in source:
            return found
        return seen.setdefault(found, f"<id-{len(seen) + 1}>")

    text = re.sub(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", number, text)
    text = text.replace(str(folder), "<case>")
    return json.loads(text)
