"""What is alive, and the destruction of what is not (spec/muranopl.md §8.2, §8.3)."""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from dsl.compiler.methods import ENTERED
from dsl.errors import LimitExceeded, Thrown
from dsl.runtime.loading import children_in
from dsl.runtime.machine import LimitReached, exceeded
from dsl.runtime.objects import DestroyedObject, MuranoObject

if TYPE_CHECKING:
    from dsl.runtime.program import Program

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Swallowed:
    """What a destructor or handler of an object failed with; `what` is `.destroy` or the handler's name."""

    object_id: str
    type: str
    what: str
    error: Thrown | LimitExceeded


class Lifecycle:
    """Collection and destruction in one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.doomed: set[MuranoObject] = set()

    def collect(self) -> None:
        """Destroy what nothing alive refers to: root, locals of running methods, statics, private state."""
        roots: list[Any] = [self.program.root, *self.program.pinned]
        for package in list(self.program.registry.loaded.values()):
            for cls in package.classes.values():
                roots.extend(cls.statics.values())
        roots.extend(self._locals())
        roots.extend(self._maybe_held())
        self.destroy_all_but(_reachable(roots, saved_only=False))

    def finalize(self) -> None:
        """Destroy what will not be part of the stored model."""
        self.destroy_all_but(_reachable([self.program.root], saved_only=True) | set(self.program.pinned))

    def destroy_all_but(self, alive: set[MuranoObject]) -> None:
        targets = [each for each in self.program.store.values() if each not in alive and not each.is_destroyed]
        if targets:
            self._destroy(targets)

    def _locals(self) -> list[Any]:
        """Values of the variables of all running methods, in all logical threads."""
        found: list[Any] = []
        frames = sys._current_frames()
        for thread in self.program.scheduler.threads():
            if thread.ident == threading.get_ident():
                found.extend(_locals_of(sys._getframe(1)))
            elif thread.ident is not None and thread.ident in frames:
                found.extend(_locals_of(frames[thread.ident]))
        return found

    def _maybe_held(self) -> list[MuranoObject]:
        """Objects that an unfinished expression of a caller, or of another branch, may hold: those of this call of the
        host that were there before the collecting method was entered. They are looked at by the next collection.
        """
        machine = self.program.machine
        entered = machine.objects if machine.forked else _entered(sys._getframe(1))
        return [each for each in self.program.store.values() if machine.objects_before < each.birth <= entered]

    # Destruction

    def _destroy(self, targets: list[MuranoObject]) -> None:
        """Notify all subscribers first, owners' first; then destroy in order."""
        outer = self.doomed
        self.doomed = outer | set(targets)
        try:
            for level in _by_ownership(targets):
                self._in_parallel(self._notify, level)
            for group in _in_order(targets):
                self._in_parallel(self._destroy_one, group)
                for each in group:  # until all destructors of one rank are through, they can still call each other
                    self.program.mark_destroyed(each)
        finally:
            self.doomed = outer

    def _in_parallel(self, action: Any, objects: list[MuranoObject]) -> None:
        if len(objects) == 1:
            action(objects[0])
        elif objects:
            outcomes = self.program.scheduler.fork([lambda each=each: action(each) for each in objects], 0)  # type: ignore[misc]
            for _, error in outcomes:
                if error is not None:
                    raise error

    def _notify(self, publisher: MuranoObject) -> None:
        for subscriber_id, handler in publisher.dependencies:
            subscriber = self.program.store.get(subscriber_id)
            if subscriber is None or subscriber.is_destroyed or handler is None:
                continue
            method = subscriber.cls.find_method(handler)
            if method is None:
                continue
            call = self.program.linker.dispatch_of(subscriber.cls).call
            self._spared(functools.partial(call, subscriber, method, (publisher,), {}), subscriber, handler)

    def _destroy_one(self, target: MuranoObject) -> None:
        for cls in target.cls.lineage:
            method = cls.methods.get(".destroy")
            if method is None or method.entry is None:
                continue
            self._spared(functools.partial(method.entry, target), target, ".destroy")

    def _spared(self, call: Callable[[], Any], target: MuranoObject, what: str) -> None:
        """Calls a destructor or handler; whatever it fails with is taken down, and the destruction of the rest goes on.

        One that runs into a limit loses its own time; only the last of many ends the program.
        """
        machine = self.program.machine
        depth, constructing = machine.depth, machine.constructing
        try:
            call()
            return
        except (RecursionError, MemoryError, LimitExceeded) as overrun:
            limit = self.program.exceptions.limit_of(overrun)
            limit.stack = limit.stack or self.program.exceptions.stack_of(overrun)
            machine.reached(limit.limit, limit.message)
            error: Thrown | LimitExceeded = limit
        except LimitReached as signal:
            error = exceeded(signal)
            error.stack = self.program.exceptions.stack_of(signal)
        except Exception as failure:
            error = self.program.exceptions.surfaced(failure)
        machine.depth, machine.constructing = depth, constructing
        if isinstance(error, LimitExceeded) and not machine.second_chance():
            raise error
        self.program.swallowed.append(Swallowed(object_id=target.id, type=target.cls.name, what=what, error=error))
        kinds = ", ".join(error.names) if isinstance(error, Thrown) else type(error).__name__
        LOG.warning("%s of %s failed: %s", what, target, kinds)  # what it says may be secret: the host can tell that

    # io.murano.system.GC

    def subscribe(self, publisher: MuranoObject, subscriber: MuranoObject, handler: str | None) -> None:
        """Once per publisher, subscriber and handler."""
        if handler is not None and subscriber.cls.find_method(handler) is None:
            raise Thrown("murano.dsl.exceptions.NoMethodFound", f'Method "{handler}" is not found')
        record = (subscriber.id, handler)
        if record not in publisher.dependencies:
            publisher.dependencies = (*publisher.dependencies, record)

    def unsubscribe(self, publisher: MuranoObject, subscriber: MuranoObject, handler: str | None) -> None:
        record = (subscriber.id, handler)
        publisher.dependencies = tuple(each for each in publisher.dependencies if each != record)

    def is_doomed(self, target: MuranoObject) -> bool:
        return target in self.doomed or isinstance(target, DestroyedObject)


def _by_ownership(targets: list[MuranoObject]) -> list[list[MuranoObject]]:
    """By depth of ownership among the targets, owners first."""
    members = set(targets)
    levels: dict[int, list[MuranoObject]] = {}
    for each in targets:
        depth = sum(1 for owner in each.owners() if owner in members)
        levels.setdefault(depth, []).append(each)
    return [levels[depth] for depth in sorted(levels)]


def _in_order(targets: list[MuranoObject]) -> list[list[MuranoObject]]:
    """Groups to be destroyed one after the other: the highest rank first (spec/engine-flow.md §4).

    The rank of an object is one more than the highest of its owner's and its subscribers': what is owned goes before
    its owner, a publisher before its subscribers, and what nothing depends on any more goes last. Where ownership and a
    subscription contradict each other the subscription counts: it was made to say so.
    """
    members = {each.id: each for each in targets}
    subscribers: dict[MuranoObject, set[MuranoObject]] = {}
    for publisher in targets:
        found = {members[each] for each, _ in publisher.dependencies if each in members} - {publisher}
        if found:
            subscribers[publisher] = found
    above: dict[MuranoObject, set[MuranoObject]] = {}
    below: dict[MuranoObject, list[MuranoObject]] = {each: [] for each in targets}
    for each in targets:
        owners = [owner for owner in each.owners() if owner in below and not _comes_before(owner, each, subscribers)]
        above[each] = subscribers.get(each, set()) | set(owners)
        for other in above[each]:
            below[other].append(each)
    groups: list[list[MuranoObject]] = []
    waiting = {each: len(found) for each, found in above.items()}
    ranks = dict.fromkeys(targets, 0)
    ready = [each for each in targets if not waiting[each]]
    while waiting:
        if not ready:
            ready = [next(iter(waiting))]  # subscriptions in a circle have no order
        each = ready.pop()
        if waiting.pop(each, None) is None:
            continue
        for other in below[each]:
            ranks[other] = max(ranks[other], ranks[each] + 1)
            if other in waiting:
                waiting[other] -= 1
                if not waiting[other]:
                    ready.append(other)
    for rank in sorted(set(ranks.values()), reverse=True):
        groups.append([each for each in targets if ranks[each] == rank])
    return groups


def _comes_before(
    first: MuranoObject, second: MuranoObject, subscribers: dict[MuranoObject, set[MuranoObject]]
) -> bool:
    """Whether subscriptions demand that `first` is destroyed before `second`."""
    pending, seen = [first], {first}
    while pending:
        for each in subscribers.get(pending.pop(), ()):
            if each is second:
                return True
            if each not in seen:
                seen.add(each)
                pending.append(each)
    return False


def _reachable(roots: Iterable[Any], saved_only: bool) -> set[MuranoObject]:
    """Objects that values lead to, through all properties or only through those that are stored."""
    found: set[MuranoObject] = set()
    pending: list[MuranoObject] = [each for root in roots for each in children_in(root)]
    while pending:
        each = pending.pop()
        if each in found:
            continue
        found.add(each)
        values = [each.values[name] for name in each.cls.saved_names if name in each.values] if saved_only else None
        for value in each.values.values() if values is None else values:
            pending.extend(children_in(value))
        if not saved_only and each.owner is not None:
            pending.append(each.owner)
    return found


def _entered(frame: FrameType | None) -> int:
    """How many objects there were when the innermost running method was entered."""
    while frame is not None:
        if "_murano_class" in frame.f_globals and ENTERED in frame.f_code.co_varnames:
            return int(frame.f_locals.get(ENTERED, 0))
        frame = frame.f_back
    return 0


def _locals_of(frame: FrameType | None) -> list[Any]:
    """Variables in generated code, from the innermost frame outwards; our own temporaries do not count."""
    found: list[Any] = []
    while frame is not None:
        if "_murano_class" in frame.f_globals:
            found.extend(value for name, value in frame.f_locals.items() if not name.startswith(("t_", "x_")))
        frame = frame.f_back
    return found
