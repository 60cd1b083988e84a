"""Wait conditions: a stack waits until its servers signal through the lab's own signal address (signals.py)."""

from __future__ import annotations

import json
import time
from typing import Any

from engine.clouds.lab import signals
from engine.clouds.lab.resources.driver import Driver, ResourceError, text
from engine.clouds.lab.site import Site, remove_tree
from engine.clouds.lab.state import Record


class WaitConditionHandle(Driver):
    """OS::Heat::WaitConditionHandle: an address that servers POST their signals to."""

    type = "OS::Heat::WaitConditionHandle"
    optional = frozenset({"signal_transport"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        if site.objects.get(record.physical) is None:
            site.objects.put(record.physical, "waithandle", stack=stack, token=signals.new_token())
        signals.folder(site, record.physical).mkdir(exist_ok=True)

    def delete(self, site: Site, record: Record) -> None:
        remove_tree(signals.folder(site, record.physical))
        super().delete(site, record)

    def attributes(self, site: Site, record: Record) -> dict[str, Any]:
        handle = super().attributes(site, record)
        url = signals.url(site, record.physical, str(handle.get("token")))
        headers = "-H 'Content-Type: application/json' -H 'Accept: application/json'"
        return {
            "endpoint": url, "url": url, "token": handle.get("token"),
            "curl_cli": f"curl -i -X POST {headers} {url}", "signal": {},
        }  # fmt: skip


class WaitCondition(Driver):
    """OS::Heat::WaitCondition: created when `count` signals of success have come, failed at the first of failure."""

    type = "OS::Heat::WaitCondition"
    required = frozenset({"handle", "timeout"})
    optional = frozenset({"count"})
    changeable = frozenset({"count", "timeout"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        handle = text(record.properties, "handle") or ""
        known = site.objects.get(handle)
        if known is None or known["kind"] != "waithandle":
            raise ResourceError(f"handle: expected an OS::Heat::WaitConditionHandle, found {handle!r}")
        count, timeout = int(record.properties.get("count", 1)), float(record.properties["timeout"])
        if not site.isolated:
            raise ResourceError("no server of this lab runs (see `isolation`), so no signal can come")
        deadline = time.monotonic() + timeout
        while True:
            received = signals.received(site, handle)
            failed = [item for item in received if item["status"] == "FAILURE"]
            if failed:
                raise ResourceError(f"a server signalled failure: {failed[0].get('reason') or failed[0].get('data')}")
            if len(received) >= count:
                site.objects.put(record.physical, "waitcondition", stack=stack, handle=handle)
                return
            if time.monotonic() > deadline:
                raise ResourceError(f"{len(received)} of {count} signals received after {timeout:g} s")
            time.sleep(0.05)

    def attributes(self, site: Site, record: Record) -> dict[str, Any]:
        condition = super().attributes(site, record)
        received = signals.received(site, condition["handle"]) if condition else []
        return {"data": json.dumps({item["id"]: item.get("data") for item in received})}


DRIVERS: tuple[Driver, ...] = (WaitConditionHandle(), WaitCondition())
