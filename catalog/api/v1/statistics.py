"""Instances of an environment for accounting, and request counts of this process. spec/api-v1 §1.13."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from catalog.api.request import Request
from catalog.api.v1 import access
from catalog.db.instance_stats import InstanceStats


def raw(request: Request) -> Any:
    """GET /environments/E/instance-statistics/raw[/I]."""
    return [_shown(row) for row in _rows(request, "get_instance_statistics", request.values.get("instance"))]


def aggregated(request: Request) -> Any:
    """GET /environments/E/instance-statistics/aggregated: sums per type."""
    sums: dict[int, dict[str, int]] = {}
    for row in _rows(request, "get_aggregated_statistics", None):
        entry = sums.setdefault(row.instance_type, {"type": row.instance_type, "duration": 0, "count": 0})
        entry["duration"] += _duration(row)
        entry["count"] += 1
    return list(sums.values())


def requests(request: Request) -> Any:
    """GET /stats: what this process has answered so far."""
    request.authorize("get_statistics")
    return [request.services.counters.shown()]


def _rows(request: Request, rule: str, instance_id: str | None) -> list[InstanceStats]:
    with request.database.reading() as session:
        environment = access.environment_of(request, session)
        request.authorize(rule, environment_id=environment.id)
        query = sa.select(InstanceStats).where(InstanceStats.environment_id == environment.id)
        if instance_id is not None:
            query = query.where(InstanceStats.instance_id == instance_id)
        return list(session.scalars(query.order_by(InstanceStats.created, InstanceStats.instance_id)))


def _shown(row: InstanceStats) -> dict[str, Any]:
    return {
        "type": row.instance_type,
        "type_name": row.type_name,
        "type_title": row.type_title,
        "instance_id": row.instance_id,
        "unit_count": row.unit_count,
        "duration": _duration(row),
        "active": row.destroyed is None,
    }


def _duration(row: InstanceStats) -> int:
    return (row.destroyed or int(time.time())) - row.created
