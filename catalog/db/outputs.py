"""What the scripts of a deployment's plans print, while they run: for people, so bounded, masked and not journaled.

The engine opens a stream for each plan (`watch`), the agents' API appends what guests send (`add`) and ends it with the
plan's result (`end`), the API reads (`of_deployment`). `position` counts in the guest's own spool: a piece is taken
only where the last one ended, so an answer that was lost doubles nothing. Chunks are numbered within the deployment,
which is what clients resume from.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import agent_answers, masking, sealing
from catalog.db.agents import AgentPlan
from catalog.db.base import Base, Identifier, Timestamp, now

MOST_OF_PLAN = 1024 * 1024  # characters kept of one plan; the guest sends no more by itself
MOST_OF_DEPLOYMENT = 16 * 1024 * 1024  # characters of all its plans together
LONGEST_NAME = 100  # characters of a script's name that are shown
STREAMS = ("stdout", "stderr")
TOO_MUCH = "[... more than is kept of a {whole}; the plan's result has the beginning and the end of each script ...]\n"


class OutputStream(Base):
    """The output of one plan. `held` is the text, by script and stream, that waits for what comes next (`masking`)."""

    __tablename__ = "output_streams"

    plan_id: orm.Mapped[str] = orm.mapped_column(sa.String(128), primary_key=True)
    deployment_id: orm.Mapped[str] = orm.mapped_column(
        Identifier, sa.ForeignKey("deployments.id", ondelete="CASCADE"), index=True
    )
    agent_id: orm.Mapped[str] = orm.mapped_column(Identifier)
    entity_id: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    name: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    position: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, default=0)
    size: orm.Mapped[int] = orm.mapped_column(sa.Integer, default=0)
    is_full: orm.Mapped[bool] = orm.mapped_column(sa.Boolean, default=False)
    held: orm.Mapped[list[list[str]] | None] = orm.mapped_column(sealing.Json("output_streams.held"))
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(Timestamp, default=now)


class OutputChunk(Base):
    """A piece of what one script printed. It hangs on its stream and not on the deployment, whose row a worker has
    locked most of the time: who adds a chunk has the stream locked already, and needs no other row.
    """

    __tablename__ = "output_chunks"

    deployment_id: orm.Mapped[str] = orm.mapped_column(Identifier, primary_key=True)
    number: orm.Mapped[int] = orm.mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    plan_id: orm.Mapped[str] = orm.mapped_column(
        sa.String(128), sa.ForeignKey("output_streams.plan_id", ondelete="CASCADE"), index=True
    )
    script: orm.Mapped[str] = orm.mapped_column(sa.String(LONGEST_NAME))
    stream: orm.Mapped[str] = orm.mapped_column(sa.String(8))
    text: orm.Mapped[str] = orm.mapped_column(sealing.Text("output_chunks.text"))
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(Timestamp, default=now)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What a guest sends at a time: `texts` are (script, stream, text), from one place in its spool to another."""

    begin: int
    end: int
    texts: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A chunk with what is known about its plan. `entity_id` is the server's object, `plan` the plan's name."""

    number: int
    entity_id: str
    plan_id: str
    plan: str | None
    script: str
    stream: str
    text: str
    created: datetime.datetime


def watch(
    session: orm.Session, *, deployment_id: str, agent_id: str, entity_id: str, plan_id: str, plan: dict[str, Any]
) -> None:
    """Opens the stream of a plan that is about to be sent, if it is not open yet."""
    if session.get(OutputStream, plan_id) is None:
        name = plan.get("Name")
        session.add(
            OutputStream(
                plan_id=plan_id,
                deployment_id=deployment_id,
                agent_id=agent_id,
                entity_id=entity_id[:255],
                name=agent_answers.fit(name)[:255] if isinstance(name, str) and name else None,
                position=0,
                size=0,
                is_full=False,
                created=now(),
            )
        )


def add(session: orm.Session, plan: AgentPlan, piece: Piece) -> int | None:
    """Appends what begins where the last piece ended; the place from which the guest shall send next.

    None: nobody wants to see this plan's output.
    """
    stream = _locked(session, plan.id)
    if stream is None:
        return None
    if piece.begin != stream.position or piece.end <= piece.begin:
        return stream.position
    stream.position = piece.end
    if not stream.is_full:
        _append(session, stream, plan, piece.texts)
    return stream.position


def end(session: orm.Session, plan: AgentPlan) -> None:
    """Shows what still waited: nothing comes any more."""
    stream = _locked(session, plan.id)
    if stream is None or not stream.held:
        return
    known = masking.spellings(masking.found_in(plan.plan))
    for script, channel, text in stream.held:
        _show(session, stream, script, channel, masking.masked_text(text, known))
    stream.held = None


def of_deployment(session: orm.Session, deployment_id: str, *, after: int = 0, limit: int = 200) -> list[Shown]:
    """The chunks with a number above `after`, in the order they came, at most `limit`."""
    query = (
        sa.select(OutputChunk, OutputStream)
        .join(OutputStream, OutputStream.plan_id == OutputChunk.plan_id)
        .where(OutputChunk.deployment_id == deployment_id, OutputChunk.number > after)
        .order_by(OutputChunk.number)
        .limit(limit)
    )
    return [
        Shown(
            number=chunk.number,
            entity_id=stream.entity_id,
            plan_id=chunk.plan_id,
            plan=stream.name,
            script=chunk.script,
            stream=chunk.stream,
            text=chunk.text,
            created=chunk.created,
        )
        for chunk, stream in session.execute(query).all()
    ]


def _locked(session: orm.Session, plan_id: str) -> OutputStream | None:
    """The stream, with all streams of its deployment locked: chunks are numbered by one transaction after the other."""
    deployment_id = session.scalar(sa.select(OutputStream.deployment_id).where(OutputStream.plan_id == plan_id))
    if deployment_id is None:
        return None
    query = sa.select(OutputStream).where(OutputStream.deployment_id == deployment_id)
    for stream in session.scalars(query.order_by(OutputStream.plan_id).with_for_update()):
        if stream.plan_id == plan_id:
            return stream
    return None


def _append(session: orm.Session, stream: OutputStream, plan: AgentPlan, texts: Sequence[tuple[str, str, str]]) -> None:
    """Shows the texts, each with what was held of its script and stream, as far as that can be done safely."""
    known = masking.spellings(masking.found_in(plan.plan))
    waiting = {(script, channel): text for script, channel, text in stream.held or []}
    for script, channel, text in texts:
        text = waiting.pop((script, channel), "") + text
        safe = masking.safe_length(text, known)
        if safe < len(text):
            waiting[script, channel] = text[safe:]
        if safe:
            _show(session, stream, script, channel, masking.masked_text(text[:safe], known))
    stream.held = [[*key, text] for key, text in waiting.items()] or None


def _show(session: orm.Session, stream: OutputStream, script: str, channel: str, text: str) -> None:
    """The text as a chunk, if there is room for it; the first that has none is told."""
    if stream.is_full:
        return
    together = sa.select(sa.func.sum(OutputStream.size)).where(OutputStream.deployment_id == stream.deployment_id)
    session.flush()
    if stream.size + len(text) > MOST_OF_PLAN or (session.scalar(together) or 0) + len(text) > MOST_OF_DEPLOYMENT:
        text = TOO_MUCH.format(whole="plan" if stream.size + len(text) > MOST_OF_PLAN else "deployment")
        stream.is_full = True
    stream.size += len(text)
    last = sa.select(sa.func.max(OutputChunk.number)).where(OutputChunk.deployment_id == stream.deployment_id)
    session.add(
        OutputChunk(
            deployment_id=stream.deployment_id,
            number=(session.scalar(last) or 0) + 1,
            plan_id=stream.plan_id,
            script=script,
            stream=channel,
            text=text,
            created=now(),
        )
    )
    session.flush()
