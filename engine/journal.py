"""One deployment's journal as its program sees it: what has happened already, and a place to write what happens now.

All entries are read once, when a worker takes the deployment over. Deliveries are written together with the next intent
or outcome: until then nothing that followed from them has left the program.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import orm

import dsl
from catalog.db import base, journal
from engine import lease, secrets

Alongside = Callable[[orm.Session], None]


class NonDeterministic(dsl.Interrupted):
    """A replayed program asked for another effect than the journal has in that place."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How an effect failed, as package code catches it (spec/muranopl §13)."""

    names: tuple[str, ...]
    message: str
    extra: Any = None

    @classmethod
    def of(cls, error: dsl.SystemFailure) -> Failure:
        extra = json.loads(json.dumps(error.extra, default=str))
        return cls(names=tuple(error.names), message=str(error.message), extra=extra)

    def error(self) -> dsl.SystemFailure:
        return dsl.SystemFailure(self.names, self.message, self.extra)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What came of an effect."""

    outcome: Any = None
    failure: Failure | None = None

    def result(self) -> Any:
        """The outcome; raises the failure."""
        if self.failure is not None:
            raise self.failure.error()
        return self.outcome


@dataclass(frozen=True, kw_only=True)
class _Entry:
    name: str
    digest: str
    started: datetime.datetime
    recorded: Recorded | None


class Journal:
    """The journal of the deployment that `held` is the lease of. Threads of one program share it."""

    def __init__(self, held: lease.Lease) -> None:
        self._lease = held
        self._mutex = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._deliveries: dict[int, str] = {}
        self._unwritten: dict[int, str] = {}
        for row in held.read(lambda session: journal.entries(session, held.deployment_id)):
            self._entries[row.key] = _entry(row)
            if row.delivery is not None:
                self._deliveries[row.delivery] = row.key

    def __len__(self) -> int:
        """How many effects there have been, in all runs together."""
        with self._mutex:
            return len(self._entries)

    def recall(self, effect: dsl.Effect) -> Recorded | None:
        """What came of the effect before, None if nothing has yet. Raises `NonDeterministic` if it is another one."""
        with self._mutex:
            known = self._entries.get(effect.key)
        if known is None:
            return None
        if known.digest != digest(effect):
            place = f" at {effect.location}" if effect.location else ""
            raise NonDeterministic(
                f"effect {effect.key} of deployment {self._lease.deployment_id}{place}: expected {known.name!r} as "
                f"recorded (digest {known.digest[:12]}), found {effect.name!r} (digest {digest(effect)[:12]}). The "
                f"packages or the service changed while the deployment ran; deploy the environment again"
            )
        return known.recorded

    def intend(self, effect: dsl.Effect, alongside: Alongside | None = None) -> float:
        """Writes that the effect is about to be carried out, and with the first intent the rows `alongside`; gives the
        seconds since it was first intended.

        They are 0 for the worker that intends it first. A successor has to go by the clocks of two machines.
        """
        with self._mutex:
            known = self._entries.get(effect.key)
        if known is not None:
            self._write(self._write_deliveries)
            return (base.now() - known.started).total_seconds()

        def work(session: orm.Session, tried: bool) -> datetime.datetime:
            self._write_deliveries(session)
            row = self._earlier(session, effect) if tried else None
            if row is not None:
                return row.started
            if alongside is not None:
                alongside(session)
            return self._enter(session, effect)

        self._remember(effect, self._write_once(work), None)
        return 0.0

    def conclude(self, effect: dsl.Effect, recorded: Recorded, alongside: Alongside | None = None) -> None:
        """Writes what came of an intended effect, and the rows `alongside`."""

        def work(session: orm.Session, tried: bool) -> None:
            self._write_deliveries(session)
            row = self._earlier(session, effect) if tried else None
            if row is not None and row.finished is not None:
                return
            if alongside is not None:
                alongside(session)
            journal.conclude(session, self._lease.deployment_id, effect.key, **_columns(recorded))

        self._write_once(work)
        self._remember(effect, base.now(), recorded)

    def record(self, effect: dsl.Effect, recorded: Recorded, alongside: Alongside | None = None) -> None:
        """Writes intent, outcome and the rows `alongside` in one transaction: for effects on our database alone."""

        def work(session: orm.Session, tried: bool) -> None:
            self._write_deliveries(session)
            if tried and self._earlier(session, effect) is not None:
                return
            if alongside is not None:
                alongside(session)
            self._enter(session, effect, recorded)

        self._write_once(work)
        self._remember(effect, base.now(), recorded)

    def delivery(self, number: int) -> str | None:
        """The key of the outcome that was handed to the program as number-th, if that is known."""
        with self._mutex:
            return self._deliveries.get(number)

    def delivered(self, number: int, key: str) -> None:
        """The outcome of `key` is handed to the program as number-th."""
        with self._mutex:
            if self._deliveries.get(number) != key:
                self._deliveries[number] = key
                self._unwritten[number] = key

    def flush(self, session: orm.Session) -> None:
        """Writes the deliveries that are not written yet, in the caller's transaction."""
        self._write_deliveries(session)

    def _enter(self, session: orm.Session, effect: dsl.Effect, recorded: Recorded | None = None) -> datetime.datetime:
        return journal.enter(
            session,
            self._lease.deployment_id,
            effect.key,
            effect.name,
            digest(effect),
            secrets.masked(dict(effect.arguments)),
            finished=recorded is not None,
            **_columns(recorded or Recorded()),
        )

    def _earlier(self, session: orm.Session, effect: dsl.Effect) -> journal.JournalEntry | None:
        """What an earlier try has written whose answer was lost: nobody else can have."""
        return session.get(journal.JournalEntry, (self._lease.deployment_id, effect.key))

    def _write_once(self, work: Callable[[orm.Session, bool], Any]) -> Any:
        """Writes, telling `work` whether it was tried before."""
        tries: list[None] = []

        def attempt(session: orm.Session) -> Any:
            tries.append(None)
            return work(session, len(tries) > 1)

        return self._write(attempt)

    def _write(self, work: Callable[[orm.Session], Any]) -> Any:
        with self._mutex:
            pending = dict(self._unwritten)
        result = self._lease.write(work)
        with self._mutex:  # written for sure are those that were pending before; writing one twice does no harm
            for number in pending:
                self._unwritten.pop(number, None)
        return result

    def _write_deliveries(self, session: orm.Session) -> None:
        with self._mutex:
            pending = dict(self._unwritten)
        journal.deliver(session, self._lease.deployment_id, pending)

    def _remember(self, effect: dsl.Effect, started: datetime.datetime, recorded: Recorded | None) -> None:
        with self._mutex:
            self._entries[effect.key] = _Entry(
                name=effect.name, digest=digest(effect), started=started, recorded=recorded
            )


def digest(effect: dsl.Effect) -> str:
    """SHA-256 of the effect's name and arguments."""
    text = json.dumps([effect.name, dict(effect.arguments)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def as_stored(value: Any) -> Any:
    """The value as a replay will read it: lists for tuples, text for keys. Raises `TypeError` if it is not JSON."""
    return json.loads(json.dumps(value))


def _columns(recorded: Recorded) -> dict[str, Any]:
    failure = recorded.failure
    if failure is None:
        return {"outcome": recorded.outcome, "failure": None}
    named = {"names": list(failure.names), "message": failure.message, "extra": failure.extra}
    return {"outcome": recorded.outcome, "failure": named}


def _entry(row: journal.JournalEntry) -> _Entry:
    recorded: Recorded | None = None
    if row.finished is not None:
        failure = None
        if row.failure is not None:
            failure = Failure(
                names=tuple(row.failure["names"]), message=row.failure["message"], extra=row.failure.get("extra")
            )
        recorded = Recorded(outcome=row.outcome, failure=failure)
    return _Entry(name=row.name, digest=row.digest, started=row.started, recorded=recorded)
