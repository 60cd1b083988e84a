"""What Heat says a stack has, with nested stacks and without what is gone; and in which regions there is a Heat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keystoneauth1 import session
from keystoneauth1.identity import base
from oslo_config import cfg

from engine.clouds import ports

ALL_LEVELS = 20  # of nested stacks, when all that a stack has is asked for; Heat has a limit of its own below


def held(listed: Sequence[Any]) -> list[ports.Held]:
    """Heat's list of all levels. A resource knows the name of the one that its stack is, and which stack it is in."""
    entries = [each.to_dict() for each in listed]
    stacks = {entry["physical_resource_id"]: entry for entry in entries if entry.get("physical_resource_id")}
    held = []
    for entry in entries:
        if not entry.get("physical_resource_id") or entry["resource_status"] == "DELETE_COMPLETE":
            continue
        names, parents = [entry["resource_name"]], [stacks.get(_stack_id(entry))]
        while parents[-1] is not None and len(parents) <= ALL_LEVELS:
            names.append(parents[-1]["resource_name"])
            parents.append(stacks.get(_stack_id(parents[-1])))
        failed = entry["resource_status"].endswith("FAILED")
        held.append(
            ports.Held(
                id=entry["physical_resource_id"],
                name="/".join(reversed(names)),
                type=entry["resource_type"],
                status=entry["resource_status"],
                reason=entry.get("resource_status_reason") if failed else None,
                parent_type=parents[0]["resource_type"] if parents[0] else None,
            )
        )
    return held


def regions(keystone: session.Session, conf: cfg.ConfigOpts) -> Sequence[str]:
    """Regions with a Heat, as the service catalog knows them, the one of environments that name none first."""
    if conf.heat.url:
        return (conf.home_region or "",)
    assert isinstance(keystone.auth, base.BaseIdentityPlugin)
    catalog = keystone.auth.get_access(keystone).service_catalog
    known = catalog.get_endpoints(service_type="orchestration", interface=conf.heat.endpoint_type)
    endpoints = [each for listed in known.values() for each in listed if each is not None]
    regions = {str(each["region"]) for each in endpoints if each.get("region")}
    home = conf.home_region or ""
    return (home, *sorted(regions - {home}))


def _stack_id(entry: dict[str, Any]) -> str:
    """The id of the stack that a resource of a list is in, "" where its links do not tell."""
    for link in entry.get("links") or []:
        if link.get("rel") == "stack":
            return str(link["href"]).rstrip("/").rpartition("/")[2]
    return ""
