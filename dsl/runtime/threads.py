"""Logical threads under one baton, and the delivery of effects (docs/architecture.md, "The world: effects").

One logical thread runs at a time, from one effect to the next, in first-in first-out order. When none is ready, one
finished effect is delivered and its thread goes on. So a run is a function of the model, the packages and the order of
deliveries; with a journal that knows the order, a replay is exact.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from dsl.errors import DslInvalidOperation, Interrupted, LimitExceeded, NonDeterministic, Thrown
from dsl.runtime import nesting, tracebacks
from dsl.runtime.effects import Effect, System
from dsl.runtime.machine import Machine, Refused


@dataclass(eq=False)
class LogicalThread:
    """One line of execution of the program. `path` names it the same way in every run."""

    path: str
    parent: LogicalThread | None = None
    forked_at: FrameType | None = None  # the parent's frame, for stack traces and the search for live objects
    ident: int | None = None
    sequence: int = 0
    forks: int = 0
    ids: int = 0
    digest: hashlib.blake2b | None = None  # of what all ids of the thread begin with
    depth: int = 0
    constructing: int = 0
    key: str = ""  # of the effect in flight
    failure: BaseException | None = None  # to be raised when the thread goes on
    wake: threading.Event = field(default_factory=threading.Event)

    def descends_from(self, other: LogicalThread) -> bool:
        thread: LogicalThread | None = self
        while thread is not None:
            if thread is other:
                return True
            thread = thread.parent
        return False


@dataclass(eq=False)
class _Fork:
    """Branches of one Parallel or pselect that are still to do."""

    parent: LogicalThread
    waiting: deque[LogicalThread]
    remaining: int
    run: Callable[[LogicalThread], None] = field(init=False)


@dataclass(eq=False)
class _MethodLock:
    holders: list[LogicalThread] = field(default_factory=list)
    waiters: deque[LogicalThread] = field(default_factory=deque)


Outcome = tuple[object, BaseException | None]


def first_failure(outcomes: Sequence[Outcome]) -> BaseException | None:
    """The failure that counts of a fork: the first, which knows the others."""
    failures = [error for _, error in outcomes if error is not None]
    if len(failures) > 1:
        failures[0].beside = tuple(failures[1:])  # type: ignore[attr-defined]
    return failures[0] if failures else None


class Scheduler:
    """Runs the logical threads of one program and delivers what the system answers."""

    def __init__(self, system: System, machine: Machine) -> None:
        self.system = system
        self.machine = machine
        self.main = LogicalThread("0", ident=threading.get_ident())
        self.current = self.main
        self._mutex = threading.Lock()
        self._running: LogicalThread | None = self.main
        self._ready: deque[LogicalThread] = deque()
        self._flying: dict[str, LogicalThread] = {}  # effects being carried out
        self._finished: dict[str, LogicalThread] = {}  # effects that ended and are not delivered
        self._begun: dict[str, None] = {}  # effects that are not delivered, in the order in which they were begun
        self._orderly = bool(getattr(system, "orderly", False))
        self._stuck: deque[LogicalThread] = deque()  # waiting for a method's lock
        self._alive: set[LogicalThread] = set()
        self._locks: dict[Hashable, _MethodLock] = {}
        self._deliveries = 0
        self._seed: str | None = None
        self._dead: BaseException | None = None
        self._refusing = False

    def refuse_effects(self) -> None:
        """From now on every effect raises Refused; ids are made up."""
        self._refusing = True
        self._seed = "check"

    def checkpoint(self) -> None:
        """Ask the system, if it has a `checkpoint()`, whether a program that makes no effects may go on."""
        check = getattr(self.system, "checkpoint", None)
        if check is None:
            return
        try:
            check()
        except BaseException as error:
            raise self._killed(error) from error

    def take_over(self) -> None:
        """The calling thread of the host becomes the main logical thread."""
        self.main.ident = threading.get_ident()

    # Effects

    def effect(self, name: str, arguments: Mapping[str, object], object_id: str | None = None) -> object:
        """Have the system do something, and wait for the outcome."""
        if self._refusing:
            raise Refused
        nesting.check_volume(arguments)
        thread = self.current
        thread.sequence += 1
        key = f"{thread.path}/{thread.sequence}"
        effect = Effect(key, name, arguments, tracebacks.location(sys._getframe(1)), object_id)
        if self._dead is not None:
            raise Interrupted("the program was interrupted") from self._dead
        if self._alive:
            return self._detached(thread, effect)
        failure: Thrown | None = None
        result: object = None
        self.machine.pause_clock()
        try:
            result = self.system.perform(effect)
        except Thrown as error:
            failure = error
        except BaseException as error:
            raise self._killed(error) from error
        finally:
            self.machine.resume_clock()
        try:
            self._delivered(key)
        except BaseException as error:
            raise self._killed(error) from error
        if failure is not None:
            raise failure
        return result

    def random_id(self) -> str:
        """32 hexadecimal digits; all ids of a program grow from one effect, so that a replay gives the same."""
        thread = self.current
        if thread.digest is None:
            if self._seed is None and self._dead is not None:
                self._seed = "ended"  # an ended program is still asked for its model
            if self._seed is None:
                self._seed = str(self.effect("random.id", {}))
            thread.digest = hashlib.blake2b(f"{self._seed} {thread.path} ".encode(), digest_size=16)
        thread.ids += 1
        digest = thread.digest.copy()
        digest.update(b"%d" % thread.ids)
        return digest.hexdigest()

    def mark(self, error: BaseException) -> None:
        """Notes in an error that nobody has seen yet after which effect of the running thread it came."""
        if getattr(error, "place", None) is None:
            error.place = f"{self.current.path}/{self.current.sequence}"  # type: ignore[attr-defined]

    def _detached(self, thread: LogicalThread, effect: Effect) -> object:
        """Carry out an effect without the baton, so that other threads run meanwhile."""
        with self._mutex:
            thread.key = effect.key
            self._flying[effect.key] = thread
            self._begun[effect.key] = None
            self._leave(thread)
            self._pump()
        result: object = None
        failure: BaseException | None = None
        try:
            result = self.system.perform(effect)
        except BaseException as error:  # whatever it is, it is raised again in this thread when it has the baton
            failure = error
        with self._mutex:
            if failure is not None and not isinstance(failure, Thrown):
                self._kill_locked(failure)
            del self._flying[effect.key]
            self._finished[effect.key] = thread
            self._pump()
        self._resume(thread)
        if failure is not None:
            raise failure
        return result

    def _delivered(self, key: str) -> None:
        self._deliveries += 1
        expected = self.system.delivery(self._deliveries)
        if expected is not None and expected != key:
            raise NonDeterministic(
                f"delivery {self._deliveries} was of effect {expected} when this was recorded and is of {key} now"
            )
        self.system.delivered(self._deliveries, key)

    # Branches

    def fork(self, branches: Sequence[Callable[[], object]], limit: int) -> list[Outcome]:
        """Run branches as logical threads, at most `limit` at a time; wait for all. Outcomes in the branches' order."""
        parent = self.current
        parent.forks += 1
        children = [
            LogicalThread(f"{parent.path}.{parent.forks}.{index}", parent, sys._getframe(1))
            for index in range(len(branches))
        ]
        outcomes: list[Outcome] = [(None, None)] * len(branches)
        limit = min(limit, self.machine.limits.threads) if limit > 0 else self.machine.limits.threads
        if len(branches) == 1 or limit == 1:
            for index, (child, branch) in enumerate(zip(children, branches, strict=True)):
                outcomes[index] = self._inline(parent, child, branch)
            return outcomes
        if not branches:
            return outcomes
        fork = _Fork(parent, deque(children), len(children))
        bodies = dict(zip(children, enumerate(branches), strict=True))

        def run(child: LogicalThread) -> None:
            index, branch = bodies[child]
            child.ident = threading.get_ident()
            try:
                self._resume(child)
                outcomes[index] = (branch(), None)
            except BaseException as error:  # (the parent decides what to do with it)
                self.mark(error)
                outcomes[index] = (None, error)
            self._ended(child, fork)

        fork.run = run
        first = min(limit, len(children))
        if len(self._alive) + first > self.machine.limits.branches:
            most = self.machine.limits.branches
            raise self.machine.reached("branches", f"more than {most} parallel branches run inside each other")
        for child in children:
            child.depth, child.constructing = self.machine.depth, self.machine.constructing
        with self._mutex:
            self.machine.forked = True
            for _ in range(first):
                self._begin(fork)
            self._leave(parent)
            self._pump()
        self._resume(parent)
        return outcomes

    def _begin(self, fork: _Fork) -> None:
        """Give the next branch of a fork a thread of the host, which waits for the baton (mutex held)."""
        child = fork.waiting.popleft()
        self._alive.add(child)
        self._ready.append(child)
        name = f"muranopl {child.path}"
        try:
            threading.Thread(target=fork.run, args=(child,), name=name, daemon=True).start()
        except RuntimeError as error:  # the machine has no room for it
            self._alive.discard(child)
            self._ready.remove(child)
            self._kill_locked(LimitExceeded("branches", f"no further parallel branch can begin: {error}"))

    def _inline(self, parent: LogicalThread, child: LogicalThread, branch: Callable[[], object]) -> Outcome:
        """A branch that nothing runs beside needs no thread of the host, only its own path."""
        child.ident = parent.ident
        self.current = child
        with self._mutex:
            self._running = child
            if parent in self._alive:
                self._alive.add(child)
        depth, constructing = self.machine.depth, self.machine.constructing
        try:
            return branch(), None
        except Exception as error:  # the parent decides what to do with it
            self.mark(error)
            return None, error
        finally:
            with self._mutex:
                self._alive.discard(child)
                self._running = parent
            self.current = parent
            self.machine.depth, self.machine.constructing = depth, constructing

    def _ended(self, child: LogicalThread, fork: _Fork) -> None:
        with self._mutex:
            self._alive.discard(child)
            self.machine.forked = bool(self._alive)
            fork.remaining -= 1
            if fork.waiting:
                self._begin(fork)
            if fork.remaining == 0:
                self._ready.append(fork.parent)
            if self._running is child:
                self.machine.pause_clock()
                self._running = None
            self._pump()

    # Locks of methods

    def locked(self, key: Hashable, function: Callable[..., object], arguments: Sequence[object]) -> object:
        """Call a method while no other thread runs it; threads below the one that holds the lock may (§14, §28.28)."""
        thread = self.current
        lock = self._locks.setdefault(key, _MethodLock())
        while not all(thread.descends_from(holder) for holder in lock.holders):
            with self._mutex:
                lock.waiters.append(thread)
                self._stuck.append(thread)
                self._leave(thread)
                self._pump()
            self._resume(thread)
        lock.holders.append(thread)
        try:
            return function(*arguments)
        finally:
            lock.holders.remove(thread)
            if lock.waiters:
                with self._mutex:
                    self._wake_waiter(lock)
            elif not lock.holders:
                self._locks.pop(key, None)

    def _wake_waiter(self, lock: _MethodLock) -> None:
        """Let the first thread go on that the remaining holders admit (mutex held)."""
        for waiter in lock.waiters:
            if all(waiter.descends_from(holder) for holder in lock.holders):
                lock.waiters.remove(waiter)
                if waiter in self._stuck:
                    self._stuck.remove(waiter)
                    self._ready.append(waiter)
                return

    # The baton

    def _leave(self, thread: LogicalThread) -> None:
        """Give the baton up (mutex held)."""
        self.machine.pause_clock()
        thread.depth, thread.constructing = self.machine.depth, self.machine.constructing
        self._running = None

    def _resume(self, thread: LogicalThread) -> None:
        """Wait for the baton."""
        thread.wake.wait()
        thread.wake.clear()
        if self._dead is not None:
            raise Interrupted("the program was interrupted") from self._dead
        self.machine.resume_clock()
        self.current = thread
        self.machine.depth, self.machine.constructing = thread.depth, thread.constructing
        if thread.failure is not None:
            failure, thread.failure = thread.failure, None
            raise failure

    def _pump(self) -> None:
        """If nobody has the baton, give it to the next (mutex held)."""
        if self._running is not None or self._dead is not None:
            return
        if self._ready:
            self._run(self._ready.popleft())
            return
        if self._finished or self._flying:
            self._deliver_one()
        elif self._stuck:
            thread = self._stuck.popleft()
            for lock in self._locks.values():
                if thread in lock.waiters:
                    lock.waiters.remove(thread)
            thread.failure = DslInvalidOperation(
                "deadlock: every parallel branch waits for a method that another one is running"
            )
            self._run(thread)

    def _deliver_one(self) -> None:
        try:
            wanted = self.system.delivery(self._deliveries + 1)
            if wanted is None:
                # Whatever ended first, unless the host wants the same order each time, however long each takes.
                wanted = next(iter(self._begun if self._orderly else self._finished), None)
            if wanted is not None and wanted not in self._finished:
                if wanted in self._flying:
                    return  # it will come
                if self._flying:
                    return  # a thread that is still out may ask for it next
                raise NonDeterministic(f"the recorded run had an effect {wanted} here, this one has none")
            if wanted is None:
                return
            thread = self._finished.pop(wanted)
            self._begun.pop(wanted, None)
            self._deliveries += 1
            self.system.delivered(self._deliveries, wanted)
            self._run(thread)
        except BaseException as error:  # (a journal that fails ends the whole program)
            self._kill_locked(error)

    def _run(self, thread: LogicalThread) -> None:
        self._running = thread
        thread.wake.set()

    # The end

    def _killed(self, error: BaseException) -> Interrupted:
        """End the program for what package code must not catch: an interruption, a failing journal, a host's bug."""
        with self._mutex:
            self._kill_locked(error)
        return error if isinstance(error, Interrupted) else Interrupted(str(error))

    def _kill_locked(self, error: BaseException) -> None:
        """Nothing of the package runs any more; every thread unwinds when it is next heard of."""
        if self._dead is None:
            self._dead = error
        self.machine.alive = False
        for thread in [self.main, *self._alive]:
            thread.wake.set()

    def kill(self, error: BaseException) -> None:
        """End the program from outside its threads."""
        with self._mutex:
            self._kill_locked(error)

    @property
    def dead(self) -> BaseException | None:
        """Why the program was ended early, None if it was not."""
        return self._dead

    def threads(self) -> list[LogicalThread]:
        """The main thread and all branches that have begun or wait to begin."""
        return [self.main, *self._alive]
