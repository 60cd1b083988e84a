"""Makes a stack what its template says: compares each resource with its record, makes, changes, replaces and deletes.

Every step is written down before it is taken (physical id and status `creating`, later `deleting`), and every driver's
step may be repeated. So a push after a crash at any point goes on where the last one died, and nothing is forgotten.
"""

from __future__ import annotations

import concurrent.futures
import uuid
from typing import Any

from engine.clouds.lab import functions
from engine.clouds.lab.addressing import AddressError
from engine.clouds.lab.functions import FunctionError
from engine.clouds.lab.keeper import KeeperError
from engine.clouds.lab.resources import DRIVERS
from engine.clouds.lab.resources.driver import ResourceError
from engine.clouds.lab.site import Site
from engine.clouds.lab.state import Record, StackState
from engine.clouds.lab.template import Definition, Template, TemplateError, truth
from engine.clouds.ports import StackError

PARALLEL = 8  # resources of one stack made at a time


def converge(site: Site, state: StackState, template: Template) -> dict[str, Any]:
    """Carry out a template and give its outputs; raises StackError at the first resource that fails."""
    work = _Convergence(site, state, template)
    try:
        work.make_all()
        work.delete_others()
        state.outputs = work.outputs()
    except StackError as error:
        state.status, state.reason = "FAILED", error.reason
        site.stacks.save(state)
        raise
    state.status, state.reason = "COMPLETE", None
    site.stacks.save(state)
    return state.outputs


def remove_all(site: Site, state: StackState) -> None:
    """Delete every resource of a stack, dependents first; raises StackError."""
    empty = Template({}, {}, {}, {}, {}, ())
    work = _Convergence(site, state, empty)
    try:
        work.delete_others()
    except StackError as error:
        state.status, state.reason = "DELETE_FAILED", error.reason
        site.stacks.save(state)
        raise


class _Convergence:
    def __init__(self, site: Site, state: StackState, template: Template) -> None:
        self.site, self.state, self.template = site, state, template
        self.context = functions.Context(
            template.parameters, template.files, self._reference, self._attribute, self._condition
        )

    def make_all(self) -> None:
        """Make or change the template's resources, independent ones at the same time."""
        for record in self.state.retired:  # a crash may have come between the decision and the deed
            DRIVERS[record.type].retire(self.site, record)
        waiting = {name: set(self.template.resources[name].requires) for name in self.template.order}
        running: dict[concurrent.futures.Future[None], str] = {}
        failure: StackError | None = None
        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            while running or (waiting and failure is None):
                for name in [name for name, requires in waiting.items() if not requires and failure is None]:
                    del waiting[name]
                    running[pool.submit(self._make, self.template.resources[name])] = name
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    try:
                        future.result()
                    except StackError as error:
                        failure = failure or error
                    for requires in waiting.values():
                        requires.discard(name)
        if failure is not None:
            raise failure

    def delete_others(self) -> None:
        """Delete what was replaced and what is no longer in the template, dependents first."""
        doomed = list(self.state.retired)
        doomed += [record for name, record in self.state.records.items() if name not in self.template.resources]
        for record in _dependents_first(doomed):
            record.status = "deleting"
            self.site.stacks.save(self.state)
            try:
                if not record.retained:
                    DRIVERS[record.type].delete(self.site, record)
            except (ResourceError, KeeperError, OSError) as error:
                record.reason = f"cannot be deleted: {error}"
                self.site.stacks.save(self.state)
                raise StackError(self.state.name, f"cannot be deleted: {error}", record.id, record.type) from error
            if record in self.state.retired:
                self.state.retired.remove(record)
            else:
                del self.state.records[record.id]
            self.site.stacks.save(self.state)

    def outputs(self) -> dict[str, Any]:
        """{name: value}."""
        values: dict[str, Any] = {}
        for name, body in self.template.outputs.items():
            try:
                values[name] = functions.evaluate(body["value"], self.context)
            except (FunctionError, TemplateError) as error:
                raise StackError(self.state.name, f"output {name!r}: {error}") from error
        return values

    def _make(self, definition: Definition) -> None:
        driver = DRIVERS[definition.type]
        try:
            properties = functions.evaluate(definition.properties, self.context)
            properties = {name: value for name, value in properties.items() if value is not None}
            driver.check(properties)
            known = self.state.records.get(definition.id)
            if known is not None and known.retained != definition.retained:
                known.retained = definition.retained
                self.site.stacks.save(self.state)
            record = self._record_for(definition, properties)
            if record is None:
                return
            record.retained = definition.retained
            changes = record.status == "ready"
            record.properties, record.requires = properties, list(definition.requires)
            record.status = "creating" if record.status != "ready" else "updating"
            self.site.stacks.save(self.state)
            (driver.update if changes else driver.create)(self.site, record, self.state.name)
            record.status, record.reason = "ready", None
            self.site.stacks.save(self.state)
        except (ResourceError, FunctionError, TemplateError, AddressError, KeeperError, OSError, ValueError) as error:
            reason = str(error)
            failed = self.state.records.get(definition.id)
            if failed is not None and failed.status != "ready":
                failed.reason = reason
                self.site.stacks.save(self.state)
            raise StackError(self.state.name, reason, definition.id, definition.type) from error

    def _record_for(self, definition: Definition, properties: dict[str, Any]) -> Record | None:
        """The record to work on: a new one, the old one to change or finish, or None when all is as it should be."""
        record = self.state.records.get(definition.id)
        driver = DRIVERS[definition.type]
        if record is not None:
            same_type = record.type == definition.type
            changed = {
                name
                for name in {*record.properties, *properties}
                if record.properties.get(name) != properties.get(name)
            }
            if same_type and changed <= driver.changeable and record.status != "deleting":
                unchanged = not changed and record.status == "ready" and driver.healthy(self.site, record)
                if unchanged:
                    record.requires = list(definition.requires)
                    return None
                if not changed and record.status == "ready":
                    record.status = "creating"  # it got lost outside of us: make it again
                return record
            self._retire(record)
        requires = list(definition.requires)
        record = Record(definition.id, definition.type, str(uuid.uuid4()), properties, requires=requires)
        self.state.records[definition.id] = record
        return record

    def _retire(self, record: Record) -> None:
        """Replacement: the old resource lets go of what the new one needs; it is deleted when dependents have moved."""
        self.state.retired.append(record)
        del self.state.records[record.id]
        self.site.stacks.save(self.state)
        DRIVERS[record.type].retire(self.site, record)

    def _reference(self, name: str) -> str:
        record = self._existing(name)
        return DRIVERS[record.type].reference(self.site, record)

    def _attribute(self, name: str, attribute: str) -> Any:
        record = self._existing(name)
        values = DRIVERS[record.type].attributes(self.site, record)
        if attribute not in values:
            known = ", ".join(sorted(key for key in values if key not in ("kind", "stack")))
            raise FunctionError(f"get_attr: {record.type} {name!r} has no attribute {attribute!r}; it has: {known}")
        return values[attribute]

    def _existing(self, name: str) -> Record:
        record = self.state.records.get(name)
        if record is None:
            raise FunctionError(f"refers to resource {name!r}, which is not in the template")
        return record

    def _condition(self, name: str) -> bool:
        return truth(name, self.template.conditions, self.context)


def _dependents_first(records: list[Record]) -> list[Record]:
    """An order of deletion: a record before all that it requires. Retired ones may have the id of a live one."""
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(record.id, []).append(record)
    ordered: list[Record] = []
    done: set[int] = set()

    def visit(record: Record) -> None:
        if id(record) in done:
            return
        done.add(id(record))
        for name in record.requires:
            for required in by_name.get(name, []):
                visit(required)
        ordered.append(record)

    for record in records:
        visit(record)
    return list(reversed(ordered))
