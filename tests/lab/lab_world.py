"""What lab tests say again and again: templates as the core library emits them, and waiting for servers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.clouds.lab import LabOrchestration


def template_of(resources: dict[str, Any], outputs: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    named = {name: {"value": value} for name, value in (outputs or {}).items()}
    return {"heat_template_version": "2013-05-23", "resources": resources, "outputs": named, **more}


def network_of(lab: LabOrchestration, name: str = "net") -> dict[str, Any]:
    """A network with a subnet, as the core library emits it."""
    return {
        f"network-{name}": {"type": "OS::Neutron::Net", "properties": {"name": name}},
        f"subnet-{name}": {
            "type": "OS::Neutron::Subnet",
            "properties": {
                "network": {"get_resource": f"network-{name}"},
                "ip_version": 4,
                "dns_nameservers": [],
            },
        },
        f"ri-{name}": {
            "type": "OS::Neutron::RouterInterface",
            "properties": {"router_id": lab.router_id, "subnet": {"get_resource": f"subnet-{name}"}},
        },
    }


def server_of(name: str, user_data: Any = None, network: str = "net", **properties: Any) -> dict[str, Any]:
    """A server with its port, as the core library emits it."""
    return {
        f"port-{name}": {
            "type": "OS::Neutron::Port",
            "properties": {
                "network": {"get_resource": f"network-{network}"},
                "replacement_policy": "AUTO",
                "fixed_ips": [{"subnet": {"get_resource": f"subnet-{network}"}}],
            },
        },
        name: {
            "type": "OS::Nova::Server",
            "properties": {
                "name": name,
                "flavor": "m1.small",
                "image": "ubuntu",
                "availability_zone": "nova",
                "user_data": user_data,
                "user_data_format": "RAW",
                "key_name": None,
                "networks": [{"port": {"get_resource": f"port-{name}"}}],
                **properties,
            },
        },
    }


def eventually(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `look` gives as soon as it is true; its last value when that never happens."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def booted(lab: LabOrchestration, server: str) -> str:
    """The console of a server that has finished its boot data."""
    assert eventually(lambda: "boot finished" in lab.console(server)), lab.console(server)
    return lab.console(server)


def output_of(lab: LabOrchestration, server: str, script: str) -> str:
    """What a shell script prints in a server (both streams)."""
    done = lab.exec(server, ["/bin/sh", "-c", script], timeout=120)
    return done.stdout + done.stderr


def links_of(lab: LabOrchestration) -> list[str]:
    """The network interfaces in the lab's own namespace."""
    lines = lab.site.keeper.ask("ip", commands=["link show"])[0]["output"].splitlines()
    return [line.split(": ")[1].partition("@")[0] for line in lines if line[0].isdigit()]


def processes_with(text: str) -> list[int]:
    """Processes of this machine whose command line has a text."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in line:
                found.append(int(name))
    return found
