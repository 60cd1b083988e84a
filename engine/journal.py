"""One deployment's journal as its program sees it: what has happened already, and a place to write what happens now.

All entries are read once, when a worker takes the deployment over. What nothing outside has followed from yet (the
outcomes of effects that left no trace, the order of deliveries) is kept in memory and written with the next intent,
outcome or row: whatever leaves the program, all that it may follow from is in the same transaction, or in one before.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

import dsl
from catalog.db import base, journal, masking, statuses
from engine import lease

LOG = logging.getLogger(__name__)

Alongside = Callable[[orm.Session], None]

SCRIPT = "agent.run"
MOST_KEPT = 100  # outcomes in memory; with more they are written, though nothing has followed from them


class NonDeterministic(dsl.Interrupted):
    """A replayed program asked for another effect than the journal has in that place."""


class TooLarge(Exception):
    """What came of an effect is more than the database takes in one value."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How an effect failed, as package code catches it (spec/muranopl §13)."""

    names: tuple[str, ...]
    message: str
    extra: Any = None

    @classmethod
    def of(cls, error: dsl.SystemFailure) -> Failure:
        """What a cloud says of its trouble can be of any length; nobody reads all of that."""
        extra = json.dumps(error.extra, default=str)
        return cls(
            names=tuple(error.names),
            message=statuses.shortened(str(error.message)),
            extra=json.loads(extra) if len(extra) <= statuses.LONGEST_DETAILS else None,
        )

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
    offered: bool = False  # by the deployment that this one retries


class Journal:
    """The journal of the deployment that `held` is the lease of. Threads of one program share it.

    `veil` hides secrets in arguments, which are there for people; outcomes are what the program got.
    """

    def __init__(self, held: lease.Lease, veil: masking.Veil | None = None) -> None:
        self._lease = held
        self._veil = veil or masking.Veil()
        self._mutex = threading.Lock()  # of all below
        self._entries: dict[str, _Entry] = {}
        self._deliveries: dict[int, str] = {}
        self._unwritten: dict[int, str] = {}  # deliveries of effects whose rows are there
        self._kept: dict[str, dict[str, Any]] = {}  # rows to be written, by key
        self._writing = threading.Lock()  # held by the one transaction that is under way
        self._forsaken: set[str] = set()  # offers to be removed
        self._lingering: set[str] = set()  # offers that are none any more, and whose rows are there
        self._alike: dict[str, list[tuple[str, Recorded]]] = {}  # scripts on offer, by what they are
        self.largest = held.read(lambda _session: held.database.largest)  # bytes of JSON that an outcome may have
        for row in held.read(lambda session: journal.entries(session, held.deployment_id)):
            entry = self._entries[row.key] = _entry(row)
            if entry.offered and entry.recorded is not None and row.name == SCRIPT:
                self._alike.setdefault(_likeness(row.arguments), []).append((row.key, entry.recorded))
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
            if known.offered:
                self._forsake(effect.key)
                return None
            place = f" at {effect.location}" if effect.location else ""
            raise NonDeterministic(
                f"effect {effect.key} of deployment {self._lease.deployment_id}{place}: expected {known.name!r} as "
                f"recorded (digest {known.digest[:12]}), found {effect.name!r} (digest {digest(effect)[:12]}). The "
                f"packages or the service changed while the deployment ran; deploy the environment again"
            )
        if known.offered:
            with self._mutex:
                self._entries[effect.key] = dataclasses.replace(known, offered=False)
        return known.recorded

    def keep(self, effect: dsl.Effect, recorded: Recorded) -> None:
        """Keeps what came of an effect that left no trace, to be written with whatever comes next.

        A worker that dies before takes it along; its successor carries the effect out again.
        """
        if self._intended(effect) is not None:  # by an earlier release, which wrote an intent for all of these
            self.conclude(effect, recorded)
            return
        row = self._row(effect, recorded)
        with self._mutex:
            self._kept[effect.key] = row
            self._entries[effect.key] = _known(row, recorded)
            full = len(self._kept) >= MOST_KEPT
        if full:
            self._write()

    def adopt(self, effect: dsl.Effect, is_good: Callable[[Recorded], bool]) -> Recorded | None:
        """What came of the same script on the same server in the deployment that this one retries, where no effect of
        this deployment stands for it. Ids and stamps of plans do not count. None: it did not run, or not well.
        """
        if not self._alike or effect.name != SCRIPT:
            return None
        row = self._row(effect, None)
        with self._mutex:
            found = self._alike.get(_likeness(row["arguments"]), [])
            while found:
                key, recorded = found.pop(0)
                known = self._entries.get(key)
                if (known is not None and not known.offered) or not is_good(recorded):
                    continue
                if known is not None:
                    del self._entries[key]
                self._forsaken.add(key)
                adopted = {**row, **_columns(recorded), "finished": row["started"]}
                self._kept[effect.key] = adopted
                self._entries[effect.key] = _known(adopted, recorded)
                return recorded
        return None

    def concluded(self, key: str) -> bool:
        """Whether it is known what came of the effect of this key."""
        with self._mutex:
            known = self._entries.get(key)
        return known is not None and known.recorded is not None

    def _forsake(self, key: str) -> None:
        """The thread goes another way than in the deployment before: what it did from here on is of no use."""
        thread, _, number = key.rpartition("/")
        with self._mutex:
            for other, entry in list(self._entries.items()):
                path, _, sequence = other.rpartition("/")
                later = path == thread and int(sequence) >= int(number)
                if entry.offered and (later or path.startswith(f"{thread}.")):
                    del self._entries[other]
                    # A script's row stays as long as nothing takes its place: it may be adopted, by a successor too.
                    (self._lingering if entry.name == SCRIPT and other != key else self._forsaken).add(other)

    def intend(self, effect: dsl.Effect, alongside: Alongside | None = None) -> float:
        """Writes that the effect is about to be carried out, and with the first intent the rows `alongside`; gives the
        seconds since it was first intended.

        They are 0 for the worker that intends it first. A successor has to go by the clocks of two machines.
        """
        known = self._intended(effect)
        if known is not None:
            self._write()
            return (base.now() - known.started).total_seconds()
        row = self._row(effect, None)
        self._write(row, alongside=alongside)
        self._remember(effect, _known(row, None))
        return 0.0

    def conclude(self, effect: dsl.Effect, recorded: Recorded, alongside: Alongside | None = None) -> None:
        """Writes what came of an intended effect, and the rows `alongside`, in one transaction."""
        known = self._intended(effect)
        assert known is not None, f"effect {effect.key} was never intended"
        self._write(outcome=(effect.key, recorded), alongside=alongside)
        self._remember(effect, _Entry(name=known.name, digest=known.digest, started=known.started, recorded=recorded))

    def record(self, effect: dsl.Effect, recorded: Recorded, alongside: Alongside | None = None) -> None:
        """Writes intent, outcome and the rows `alongside` in one transaction: for effects on our database alone."""
        row = self._row(effect, recorded)
        self._write(row, alongside=alongside)
        self._remember(effect, _known(row, recorded))

    def delivery(self, number: int) -> str | None:
        """The key of the outcome that was handed to the program as number-th, if that is known."""
        with self._mutex:
            return self._deliveries.get(number)

    def delivered(self, number: int, key: str) -> None:
        """The outcome of `key` is handed to the program as number-th."""
        with self._mutex:
            if self._deliveries.get(number) == key:
                return
            self._deliveries[number] = key
            if key in self._kept:
                self._kept[key]["delivery"] = number
            else:
                self._unwritten[number] = key

    def end(self, work: Alongside) -> None:
        """Writes what is not written yet, and the deployment's ending, in one transaction: the last one.

        Should the database refuse what was kept, the ending is written without it: nothing else has followed from it.
        """
        try:
            self._write(alongside=work)
        except sa.exc.SQLAlchemyError:
            LOG.exception("deployment %s: its last effects can not be written", self._lease.deployment_id)
            with self._mutex:
                self._kept.clear()
            self._write(alongside=work)

    def _write(
        self,
        row: Mapping[str, Any] | None = None,
        *,
        outcome: tuple[str, Recorded] | None = None,
        alongside: Alongside | None = None,
    ) -> None:
        """One transaction: what is kept, a row or an outcome, what belongs to it. One after the other, as the row of
        the deployment would have it anyway.
        """
        deployment_id = self._lease.deployment_id
        with self._writing:
            with self._mutex:
                rows = [dict(each) for each in self._kept.values()]
                deliveries = dict(self._unwritten)
                forsaken = sorted(self._forsaken)
            entering: list[Mapping[str, Any]] = [*rows] if row is None else [*rows, row]
            tried = False

            def work(session: orm.Session) -> None:
                nonlocal tried
                again, tried = tried, True
                if again and self._is_written(session, entering, outcome):
                    return  # an earlier try was, and its answer was lost: nobody else can have
                if forsaken:
                    journal.forsake(session, deployment_id, forsaken)
                journal.enter(session, entering)
                if outcome is not None:
                    journal.conclude(session, deployment_id, outcome[0], **_columns(outcome[1]))
                journal.deliver(session, deployment_id, deliveries)
                if alongside is not None:
                    alongside(session)

            self._lease.write(work)
            with self._mutex:
                for each in rows:
                    number = self._kept.pop(each["key"])["delivery"]
                    if number != each["delivery"]:  # delivered while it was being written
                        self._unwritten[number] = each["key"]
                for number in deliveries:
                    del self._unwritten[number]
                self._forsaken.difference_update(forsaken)

    def _is_written(
        self, session: orm.Session, entering: list[Mapping[str, Any]], outcome: tuple[str, Recorded] | None
    ) -> bool:
        key = outcome[0] if outcome is not None else entering[-1]["key"] if entering else None
        found = None if key is None else session.get(journal.JournalEntry, (self._lease.deployment_id, key))
        if found is None or (found.inherited and key in {row["key"] for row in entering}):
            return False  # an offer that is still there is not what was to be written in its place
        return outcome is None or found.finished is not None

    def _row(self, effect: dsl.Effect, recorded: Recorded | None) -> dict[str, Any]:
        moment = base.now()
        with self._mutex:
            if effect.key in self._lingering:
                self._forsaken.add(effect.key)
        return {
            "deployment_id": self._lease.deployment_id,
            "key": effect.key,
            "name": effect.name,
            "digest": digest(effect),
            "arguments": self._veil.value(dict(effect.arguments)),
            "started": moment,
            "finished": None if recorded is None else moment,
            "delivery": None,
            **_columns(recorded or Recorded()),
        }

    def _intended(self, effect: dsl.Effect) -> _Entry | None:
        with self._mutex:
            return self._entries.get(effect.key)

    def _remember(self, effect: dsl.Effect, entry: _Entry) -> None:
        with self._mutex:
            self._entries[effect.key] = entry


def digest(effect: dsl.Effect) -> str:
    """SHA-256 of the effect's name and arguments."""
    text = json.dumps([effect.name, dict(effect.arguments)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def as_stored(value: Any, most: int) -> Any:
    """The value as a replay will read it: lists for tuples, text for keys. Raises `TypeError` if it is not JSON,
    `TooLarge` if that has more than `most` characters.
    """
    text = json.dumps(value)
    if len(text) > most:
        raise TooLarge(f"expected an answer of at most {most} bytes, which is what can be kept, found {len(text)}")
    return json.loads(text)


def _likeness(arguments: Mapping[str, Any]) -> str:
    """The same for plans that do the same on the same server: they differ in ids and stamps, files in their ids."""
    plan = arguments.get("plan")
    rest = {name: part for name, part in plan.items() if name not in ("ID", "Stamp", "Files")} if plan else {}
    files = (plan or {}).get("Files")
    files = files if isinstance(files, Mapping) else {}
    text = json.dumps([arguments.get("instance_id"), rest], sort_keys=True)
    for key, entry in files.items():
        text = text.replace(json.dumps(key), json.dumps(entry.get("Name") if isinstance(entry, Mapping) else None))
    contents = sorted(json.dumps(entry, sort_keys=True) for entry in files.values())
    return hashlib.sha256("\n".join([text, *contents]).encode()).hexdigest()


def _known(row: Mapping[str, Any], recorded: Recorded | None) -> _Entry:
    return _Entry(name=row["name"], digest=row["digest"], started=row["started"], recorded=recorded)


def _columns(recorded: Recorded) -> dict[str, Any]:
    failure = recorded.failure
    if failure is None:
        return {"outcome": recorded.outcome, "failure": None}
    named = {"names": list(failure.names), "message": failure.message, "extra": failure.extra}
    return {"outcome": recorded.outcome, "failure": named}


def recorded_of(row: journal.JournalEntry) -> Recorded | None:
    """What came of an effect by its row, None while nothing has."""
    if row.finished is None:
        return None
    failure = None
    if row.failure is not None:
        failure = Failure(
            names=tuple(row.failure["names"]), message=row.failure["message"], extra=row.failure.get("extra")
        )
    return Recorded(outcome=row.outcome, failure=failure)


def _entry(row: journal.JournalEntry) -> _Entry:
    return _Entry(
        name=row.name,
        digest=row.digest,
        started=row.started,
        recorded=recorded_of(row),
        offered=bool(row.inherited) and row.delivery is None,
    )
