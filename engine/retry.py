"""What a retry takes over of the deployment that failed: its journal up to the failure (docs/engine.md, "Retrying").

`take_over` copies it under the retry's lease, once; after that a retry is a deployment like any other. `taken` is the
rule: what failed, and what followed from that, is carried out anew, all else is not.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import orm

import dsl
from catalog.db import deployments, journal, statuses
from engine import effects, progress
from engine.journal import Journal, recorded_of
from engine.lease import Lease

Stack = tuple[str, str]  # name, region

OURS = (effects.Kind.LOCAL, effects.Kind.DATABASE, effects.Kind.SLEEP)  # kinds that ask nobody outside


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What is taken over. `offers` are outcomes that count only where the program asks for the very same again."""

    kept: Sequence[journal.JournalEntry]  # replayed in the order they had
    offers: Sequence[journal.JournalEntry]
    stacks: Sequence[str] = ()  # names of those that were pushed by what is not taken over
    pushes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # stack -> keys of pushes of branches beside


def take_over(held: Lease, row: deployments.Deployment) -> str | None:
    """Copies what the retry `row` takes over, unless a worker before has; why that can not be, None if it was done."""

    def work(session: orm.Session) -> str | None:
        mine = session.get_one(deployments.Deployment, row.id)
        if mine.failure is not None:
            return None
        source, entries = _source(session, mine)
        if source is None or source.failure is None or len(entries) < int(source.failure.get("effects") or 0):
            return (
                f"Deployment {row.retry_of}, which was to be retried, or its journal was removed meanwhile; deploy the "
                f"environment again"
            )
        found = taken(entries, source.failure.get("places") or ())
        journal.copy(
            session, row.id, [*((each, False) for each in found.kept), *((each, True) for each in found.offers)]
        )
        before = source.failure.get("stacks") or ()
        mine.failure = {"stacks": sorted({*before, *found.stacks}), "pushes": dict(found.pushes)}
        number = len(found.kept) + len(found.offers)
        statuses.add(
            session,
            row.id,
            row.environment_id,
            text=f"Deployment {source.id} is retried: {number} of its {len(entries)} effects are not repeated",
            about=statuses.About(step="take over"),
        )
        return None

    return held.write(work)


def taken(entries: Sequence[journal.JournalEntry], places: Iterable[str]) -> Taken:
    """What a retry takes over of a journal; `places` are keys of effects at which something went wrong."""
    history = _History(entries)
    lost = {each.key for each in entries if each.finished is None}
    for culprit in history.culprits(places):
        lost |= {each.key for each in entries if each.key == culprit.key or history.follows(each, culprit)}
    lost |= history.from_before(lost)
    touched = {history.stack(each) for each in entries if each.key in lost and each.name in _CHANGES} - {None}
    first = history.prefix(lost)
    beside = [
        each
        for each in entries
        if each.key not in lost and each.name in _STACKS and history.stack(each) in touched and not first(each)
    ]
    pushes: dict[str, list[str]] = {}
    for each in beside:
        if each.name == "heat.push":
            pushes.setdefault(_name(each), []).append(each.key)
    lost |= {each.key for each in beside}
    first = history.prefix(lost)
    kept = [each for each in entries if each.key not in lost]
    return Taken(
        kept=[each for each in kept if first(each)],
        offers=[each for each in kept if not first(each)],
        stacks=sorted({_name(each) for each in entries if each.key in lost and each.name == "heat.push"}),
        pushes=pushes,
    )


def heeded(row: deployments.Deployment, known: Journal) -> effects.Retry:
    """What the effects of a retry have to heed, as far as that is not done."""
    pushes = (row.failure or {}).get("pushes") or {}
    return effects.Retry(
        since=row.created.replace(tzinfo=datetime.UTC).timestamp(),
        pushes={stack: {key for key in keys if not known.concluded(key)} for stack, keys in pushes.items()},
    )


def untouched(row: deployments.Deployment, pushed: set[str]) -> Iterator[str]:
    """Stacks that the deployment that was retried has made and the retry had no use for: they may run on unseen."""
    yield from (name for name in (row.failure or {}).get("stacks") or () if name not in pushed)


_CHANGES = ("heat.push", "heat.delete")
_STACKS = (*_CHANGES, "heat.current", "heat.outputs")


def _source(
    session: orm.Session, mine: deployments.Deployment
) -> tuple[deployments.Deployment | None, list[journal.JournalEntry]]:
    """The deployment that is retried, with its journal: a retry that never began has none, and stands for its own."""
    row: deployments.Deployment | None = mine
    while row is not None and row.retry_of is not None:
        row = session.get(deployments.Deployment, row.retry_of)
        if row is None or row.retry_of is None or int((row.failure or {}).get("effects") or 0):
            break
    return row, [] if row is None else journal.entries(session, row.id)


class _History:
    """The effects of a deployment by thread and by the order in which they were delivered."""

    def __init__(self, entries: Sequence[journal.JournalEntry]) -> None:
        self._entries = entries
        self._threads: dict[str, list[journal.JournalEntry]] = {}
        for each in sorted(entries, key=lambda entry: _sequence(entry.key)):
            self._threads.setdefault(_thread(each.key), []).append(each)

    def culprits(self, places: Iterable[str]) -> Iterator[journal.JournalEntry]:
        """The effects with which a retry begins: what failed, or else the last question to the outside before."""
        for place in sorted(places):
            reported = self._at(place)
            if reported is not None and reported.name == "report":
                failed = [each for each in self._entries if _failed(each) and self._led_to(each, reported)]
                if failed:
                    yield from failed
                    continue
            thread, last = _thread(place), float(_sequence(place))
            while True:
                before = [each for each in self._threads.get(thread, ()) if _sequence(each.key) <= last]
                asked = [each for each in before if _asks(each)]
                if asked or before:
                    yield asked[-1] if asked else before[0]
                    break
                if "." not in thread:
                    break
                thread, last = thread.rpartition(".")[0].rpartition(".")[0], self._forked(thread)

    def follows(self, other: journal.JournalEntry, culprit: journal.JournalEntry) -> bool:
        """Whether an effect came after the other one in the same thread, in one that waited for it, or began later."""
        one, two = _steps(_thread(other.key)), _steps(_thread(culprit.key))
        if one == two:
            return _sequence(other.key) > _sequence(culprit.key)
        shared = 0
        while shared < min(len(one), len(two)) and one[shared] == two[shared]:
            shared += 1
        if shared in (len(one), len(two)):  # one thread is above the other: the one above waits while that below runs
            return culprit.delivery is not None and _order(other) > culprit.delivery
        return one[shared][0] > two[shared][0]  # branches of one fork run beside each other

    def from_before(self, lost: set[str]) -> set[str]:
        """All that came after the first look at a stack from which the effects in `lost` have taken something away:
        what was done to that is not there any more.
        """
        begin = math.inf
        had: dict[Stack, set[str]] = {}
        first: dict[Stack, float] = {}
        for each in sorted(self._entries, key=_order):
            stack = self.stack(each)
            if stack is None:
                continue
            first.setdefault(stack, _order(each))
            has = _resources(each)
            if each.key in lost and each.name in _CHANGES and had.get(stack, set()) - has:
                begin = min(begin, first[stack])
            if each.name == "heat.current" or (each.name in _CHANGES and each.key not in lost):
                had.setdefault(stack, set()).update(has)
        if math.isinf(begin):
            return set()
        return {each.key for each in self._entries if _order(each) >= begin}

    def prefix(self, lost: set[str]) -> Any:
        """Tells of an effect whether it was delivered before all that is lost."""
        numbers = sorted(each.delivery for each in self._entries if each.delivery is not None and each.key not in lost)
        last = 0
        while last < len(numbers) and numbers[last] == last + 1:
            last += 1
        return lambda each: each.delivery is not None and each.delivery <= last

    @staticmethod
    def stack(entry: journal.JournalEntry) -> Stack | None:
        """The stack that an effect is about."""
        if entry.name not in _STACKS:
            return None
        stack = (entry.arguments or {}).get("stack") or {}
        return str(stack.get("name")), str(stack.get("region") or "")

    def _at(self, key: str) -> journal.JournalEntry | None:
        return next((each for each in self._threads.get(_thread(key), ()) if each.key == key), None)

    def _led_to(self, failed: journal.JournalEntry, reported: journal.JournalEntry) -> bool:
        """Whether a failure came before a report, in its thread or in one that it waited for."""
        thread = _thread(reported.key)
        inside = _thread(failed.key) == thread or _thread(failed.key).startswith(f"{thread}.")
        return inside and _order(failed) < _order(reported)

    def _forked(self, thread: str) -> float:
        """The last sequence number that the thread above had when this one was forked."""
        began = min((_order(each) for each in self._threads.get(thread, ())), default=math.inf)
        above = thread.rpartition(".")[0].rpartition(".")[0]
        return max((_sequence(each.key) for each in self._threads.get(above, ()) if _order(each) < began), default=0)


def _thread(key: str) -> str:
    return key.rpartition("/")[0]


def _sequence(key: str) -> int:
    return int(key.rpartition("/")[2])


def _steps(thread: str) -> list[tuple[int, int]]:
    """`0.1.3.2.0` as [(1, 3), (2, 0)]: number of the fork, number of the branch."""
    numbers = [int(each) for each in thread.split(".")[1:]]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _order(entry: journal.JournalEntry) -> float:
    return math.inf if entry.delivery is None else entry.delivery


def _asks(entry: journal.JournalEntry) -> bool:
    known = effects.EFFECTS.get(entry.name)
    return _failed(entry) or (known is not None and known.kind not in OURS)


def _failed(entry: journal.JournalEntry) -> bool:
    recorded = recorded_of(entry)
    effect = dsl.Effect(key=entry.key, name=entry.name, arguments={}, location=None, object_id=None)
    return recorded is not None and progress.failure_of(effect, recorded) is not None


def _resources(entry: journal.JournalEntry) -> set[str]:
    """Names of the resources that a stack had when it was looked at, or was to have when it was pushed."""
    template: Any = None
    if entry.name == "heat.push":
        template = (entry.arguments or {}).get("template")
    elif entry.name == "heat.current" and isinstance(entry.outcome, Mapping):
        template = entry.outcome.get("template")
    resources = template.get("resources") if isinstance(template, Mapping) else None
    return set(resources) if isinstance(resources, Mapping) else set()


def _name(entry: journal.JournalEntry) -> str:
    return str(((entry.arguments or {}).get("stack") or {}).get("name"))
