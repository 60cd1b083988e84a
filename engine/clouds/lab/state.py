"""What the lab remembers, in JSON files that are replaced in one step: stacks, and objects (networks, servers ...).

A file is either the old or the new one, also after a power cut. Locks are files too and die with their process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.clouds.ports import Stack


def write_json(path: Path, value: object) -> None:
    """Replace a file by a JSON value: durable before it is visible."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            json.dump(value, stream, indent=1, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Delete what writers that were killed have left half-written."""
    for path in folder.glob(".*.partial"):
        if not Path("/proc", path.name.split(".")[-3]).exists():
            path.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The value of a JSON file, None when there is none."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file against other processes and threads. The holder may delete it: others then take a new one."""
    while True:
        with path.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if os.fstat(stream.fileno()).st_nlink:
                yield
                return


@dataclass
class Record:
    """One resource of a stack as it is: `status` creating, ready, failed or deleting; `requires` are logical ids."""

    id: str
    type: str
    physical: str
    properties: dict[str, Any]
    status: str = "creating"
    requires: list[str] = field(default_factory=list)
    reason: str | None = None
    retained: bool = False  # its stack lets go of it and does not delete it


@dataclass
class StackState:
    """A stack as it is, and the template it was last asked to become. `retired` records wait for their deletion."""

    id: str
    name: str
    project_id: str | None
    template: dict[str, Any] | None = None
    status: str = "new"
    reason: str | None = None
    records: dict[str, Record] = field(default_factory=dict)
    retired: list[Record] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    region: str = ""
    tags: list[str] = field(default_factory=list)
    created: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] | str = field(default_factory=dict)


class StackStore:
    """The stacks of a lab, one file each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._write = threading.Lock()

    def key(self, stack: Stack) -> str:
        """The file name of a stack: names are unique per project and region."""
        identity = json.dumps([stack.project_id, stack.region_name or "", stack.name])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]

    def load(self, stack: Stack) -> StackState | None:
        """The state of a stack, None when there is none."""
        return self._parse(read_json(self._path(self.key(stack))))

    def save(self, state: StackState) -> None:
        """Store a state; callable from several threads of one push."""
        with self._write:
            write_json(self._path(state.id), asdict(state))

    def remove(self, state: StackState) -> None:
        """Forget a stack. Its lock must be held."""
        self._path(state.id).unlink(missing_ok=True)
        (self.directory / f"{state.id}.lock").unlink(missing_ok=True)

    def all(self) -> list[StackState]:
        """Every stack."""
        states = [self._parse(read_json(path)) for path in sorted(self.directory.glob("*.json"))]
        return [state for state in states if state is not None]

    @contextlib.contextmanager
    def lock(self, stack: Stack) -> Iterator[None]:
        """One push or delete of a stack at a time, over all processes."""
        with locked(self.directory / f"{self.key(stack)}.lock"):
            yield

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.json"

    def _parse(self, value: dict | None) -> StackState | None:
        if value is None:
            return None
        records = {key: Record(**record) for key, record in value.pop("records").items()}
        retired = [Record(**record) for record in value.pop("retired")]
        return StackState(records=records, retired=retired, **value)


class ObjectStore:
    """The things a lab has made, by physical id. `kind` is net, subnet, port, server, volume, config ..."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def get(self, identity: str) -> dict[str, Any] | None:
        """An object by id, None when there is none."""
        if not identity or "/" in identity or identity.startswith("."):
            return None
        return read_json(self.directory / f"{identity}.json")

    def put(self, identity: str, kind: str, **values: object) -> dict[str, Any]:
        """Store an object whole."""
        value = {**values, "id": identity, "kind": kind}
        write_json(self.directory / f"{identity}.json", value)
        return value

    def change(self, identity: str, **values: object) -> dict[str, Any] | None:
        """Replace some values of an object that exists."""
        with self.lock():
            value = self.get(identity)
            if value is not None:
                value = {**value, **values}
                write_json(self.directory / f"{identity}.json", value)
        return value

    def remove(self, identity: str) -> None:
        """Forget an object."""
        (self.directory / f"{identity}.json").unlink(missing_ok=True)

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Every object of a kind."""
        values = [read_json(path) for path in sorted(self.directory.glob("*.json"))]
        return [value for value in values if value and value["kind"] == kind]

    def find(self, kind: str, name_or_id: str) -> dict[str, Any] | None:
        """An object by id or else by name; None when there is none."""
        value = self.get(name_or_id)
        if value is not None:
            return value if value["kind"] == kind else None
        named = [value for value in self.all(kind) if value.get("name") == name_or_id]
        return named[0] if named else None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Choose and store without another choosing the same."""
        with locked(self.directory / "lock"):
            yield
