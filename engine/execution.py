"""The `dsl.System` of a deployment: a program's effects, made durable.

Each effect is looked up in the journal, carried out if it is not there, and written down: intent before, outcome after.
What leaves no trace in the world needs no intent; its outcome is written with what comes next. What reaches a cloud
runs in a thread of its own, so that cancellation and the loss of the lease end the program at once, whatever it does.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import orm

import dsl
from catalog.db import masking
from engine import effects, outages, progress, traces, world
from engine.journal import Alongside, Failure, Journal, Recorded, TooLarge, as_stored
from engine.lease import Draining, Lease

LOG = logging.getLogger(__name__)


class TooManyEffects(dsl.Interrupted):
    """A package asks for more of the world than any deployment needs: a loop, or an attack on the database."""


class DurableSystem(world.World):
    """The world of one deployment."""

    def __init__(
        self,
        *,
        held: Lease,
        journal: Journal,
        performer: effects.Performer,
        natives: Mapping[str, type],
        drain_seconds: float,
        most_effects: int = 20_000,
        told: progress.Progress | None = None,
    ) -> None:
        super().__init__(performer.context, natives)
        self.failures: list[tuple[dsl.Effect, Failure]] = []
        self.troubles: dict[str, dsl.Effect] = {}  # what failed by its key, scripts that failed in their servers, too
        self.unfinished: dict[str, dsl.Effect] = {}  # what may have begun and has no outcome, by key
        self.complained: list[str] = []  # keys of the errors that the package reported
        self.pushed: set[str] = set()  # names of the stacks that the program has made or changed
        self._held = held
        self._journal = journal
        self.performer = performer
        self._drain_seconds = drain_seconds
        self._most_effects = most_effects
        self._told = told

    def perform(self, effect: dsl.Effect) -> Any:
        """The effect's outcome. Raises its `dsl.SystemFailure`, or the `dsl.Interrupted` that ends the program."""
        self.context.veil.learn(masking.found_in(effect.arguments))
        try:
            recorded = self._journal.recall(effect) or self._journal.adopt(
                effect, lambda found: progress.failure_of(effect, found) is None
            )
            if recorded is None:
                self.unfinished[effect.key] = effect
                self._held.check()
                self._count(effect)
                recorded = self._carry_out(effect)
                self.unfinished.pop(effect.key)
        except dsl.Interrupted as interruption:  # no other thread of the program goes on either
            self._held.interrupt(interruption)
            raise
        self._note(effect, recorded)
        if recorded.failure is not None:
            self.failures.append((effect, recorded.failure))
            error = recorded.failure.error()
            error.place = effect.key
            raise error
        return recorded.outcome

    def checkpoint(self) -> None:
        """Ends a program that computes and makes no effects, when something has ended its deployment."""
        self._held.check()

    def _note(self, effect: dsl.Effect, recorded: Recorded) -> None:
        """Keeps in mind what the end of the deployment will be asked about, and what nobody shall read."""
        secret = masking.texts_in if effect.name == "secret" else masking.found_in
        self.context.veil.learn(secret(recorded.outcome))
        if progress.failure_of(effect, recorded) is not None:
            self.troubles[effect.key] = effect
        if effect.name == "report" and effect.arguments.get("level") == "error":
            self.complained.append(effect.key)
        if effect.name == "heat.push":
            stack: Any = effect.arguments["stack"]
            self.pushed.add(stack["name"])
            retry = self.context.retry
            if retry is not None and stack["name"] in retry.pushes:
                retry.pushes[stack["name"]].discard(effect.key)

    def delivery(self, number: int) -> str | None:
        return self._journal.delivery(number)

    def delivered(self, number: int, key: str) -> None:
        self._journal.delivered(number, key)

    def _carry_out(self, effect: dsl.Effect) -> Recorded:
        kind = self.performer.kind(effect)
        if kind is effects.Kind.DATABASE:
            alongside = self.performer.rows(effect)
            recorded = Recorded(outcome=None)
            self._journal.record(effect, recorded, alongside)
            return recorded
        if kind is effects.Kind.LOCAL:
            recorded = self._attempt(effect, lambda: self.performer.perform(effect))
            self._journal.keep(effect, recorded)
            return recorded
        if kind is effects.Kind.READ:
            recorded = self._attempt(effect, lambda: self._reach_out(effect, lambda: self.performer.perform(effect)))
            self._journal.keep(effect, recorded)
            return recorded
        told = self._told
        passed = self._journal.intend(effect, None if told is None else told.begun(effect))
        self._held.check()
        began = time.monotonic()
        if kind is effects.Kind.SLEEP:
            recorded = self._attempt(effect, lambda: self._sleep(self.performer.remaining(effect, passed)))
            written: Alongside | None = None
        else:
            trace = traces.Trace(self.performer.after(passed), effect, again=passed > 0)
            written = trace.write
            recorded = self._attempt(effect, lambda: self._reach_out(effect, trace.perform))
        took = max(0.0, passed) + time.monotonic() - began
        reported = None if told is None else told.ended(effect, recorded, took)
        self._journal.conclude(effect, recorded, _together(reported, written))
        return recorded

    def _reach_out(self, effect: dsl.Effect, call: Callable[[], Any]) -> Any:
        return outages.patiently(
            lambda: self._beside(call),
            what=f"deployment {self._held.deployment_id}: effect {effect.key} {effect.name}",
            pause=self._held.pause,
        )

    def _count(self, effect: dsl.Effect) -> None:
        if len(self._journal) >= self._most_effects:
            place = f" at {effect.location}" if effect.location else ""
            raise TooManyEffects(
                f"The deployment has had {self._most_effects} effects, the most one may have ([engine] most_effects); "
                f"the next would be {effect.name}{place}"
            )

    def _attempt(self, effect: dsl.Effect, call: Callable[[], Any]) -> Recorded:
        try:
            return Recorded(outcome=as_stored(call(), self._journal.largest))
        except dsl.SystemFailure as failure:
            return Recorded(failure=Failure.of(failure))
        except TooLarge as error:  # refused as a whole: half an answer would be another answer
            names = effects.failure_names(effect)
            return Recorded(failure=Failure(names=names, message=f"{effect.name}: {error}"))
        except (TypeError, ValueError) as error:  # an outcome that is no JSON can not be kept, so it is none
            told = self.context.veil.text(traceback.format_exc())
            LOG.error("deployment %s: effect %s %s failed\n%s", self._held.deployment_id, effect.key, effect.name, told)
            return Recorded(failure=Failure(names=(type(error).__name__,), message=str(error)))

    def _sleep(self, seconds: float) -> None:
        woken = threading.Event()
        ends = time.monotonic() + seconds
        with self._held.watched(woken.set):
            while not self._held.draining.is_set() and not woken.wait(min(max(0.0, ends - time.monotonic()), 0.2)):
                if time.monotonic() >= ends:
                    break
        self._held.check()

    def _beside(self, call: Callable[[], Any]) -> Any:
        """Runs a call that may block for long in another thread; leaves it there when the program is interrupted."""
        outcome: list[Any] = []
        failure: list[BaseException] = []
        ended = threading.Event()

        def run() -> None:
            try:
                self._held.check()
                outcome.append(call())
            except BaseException as error:  # carried over to the program's thread
                failure.append(error)
            finally:
                ended.set()

        threading.Thread(target=run, name=f"effect-{self._held.deployment_id}", daemon=True).start()
        drained = 0.0
        with self._held.watched(ended.set):
            while not ended.wait(0.2):
                if self._held.draining.is_set():
                    drained += 0.2
                    if drained >= self._drain_seconds:
                        raise Draining("the worker stops before the effect has ended; it will be repeated")
        if failure:
            raise failure[0]
        if not outcome:
            self._held.check()
        return outcome[0]


def _together(*writers: Alongside | None) -> Alongside:
    """What several have to write, in one."""

    def write(session: orm.Session) -> None:
        for each in writers:
            if each is not None:
                each(session)

    return write
