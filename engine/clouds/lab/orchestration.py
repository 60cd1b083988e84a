"""The lab as an Orchestration: stacks, and the tools by which people look into it (`chandlery lab ...`)."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from engine.clouds.lab import addressing, converge
from engine.clouds.lab import template as templates
from engine.clouds.lab.forwarding import Forwarding
from engine.clouds.lab.inventory import LabInventory
from engine.clouds.lab.isolation_level import Isolation
from engine.clouds.lab.keeper import KeeperError
from engine.clouds.lab.neutron import LabNetwork
from engine.clouds.lab.resources import TYPES
from engine.clouds.lab.resources.compute import addresses_of
from engine.clouds.lab.site import AGENT_PORT, EXTERNAL_NETWORK_ID, LIMITS, ROUTER_ID, Site
from engine.clouds.lab.state import Record, StackState, read_json
from engine.clouds.ports import CloudError, Found, Held, Holdings, Stack, StackError


@dataclass(frozen=True)
class ServerView:
    """A server for people: `state` is running, stopped, or recorded (nothing is isolated here, so nothing runs)."""

    id: str
    name: str
    state: str
    addresses: tuple[str, ...]
    stack: str
    pid: int


class LabOrchestration:
    """A cloud in a data directory; implements engine.clouds.ports.Orchestration.

    `agent_url` is where the service's agent API listens on this machine; servers use `lab.agent_url` instead. Without
    it (a second process beside the service, for looking) no agents are served.
    """

    router_id = ROUTER_ID
    external_network_id = EXTERNAL_NETWORK_ID

    def __init__(
        self, directory: str | os.PathLike[str], agent_url: str | None = None, *, isolation: Isolation | None = None
    ) -> None:
        self.site = Site(Path(directory), isolation)
        self.network = LabNetwork(self.site)
        self.inventory = LabInventory(self.network)
        self._forwarding = Forwarding(self.site, agent_url)

    @property
    def isolation(self) -> Isolation:
        """What this machine lets the lab isolate."""
        return self.site.isolation

    @property
    def agent_url(self) -> str:
        """The URL of the agent API for boot data: the same for the lab's whole life."""
        return f"http://{self.site.range.service}:{AGENT_PORT}"

    @property
    def ip_template(self) -> str:
        """The first address of the lab's range: `[networking]/env_ip_template` for network explorers."""
        return str(self.site.range.network.network_address)

    def start(self) -> LabOrchestration:
        """Bring back what should be there after a restart: network, servers, forwarding. Raises CloudError."""
        try:
            self.site.open()
            self._forwarding.open()
        except (KeeperError, addressing.AddressError, OSError) as error:
            raise CloudError(f"the lab in {self.site.directory} cannot start: {error}") from error
        return self

    def close(self) -> None:
        """End this process's part; servers live on."""
        self._forwarding.close()

    # The Orchestration port

    def push(
        self,
        stack: Stack,
        template: dict[str, Any],
        files: Mapping[str, str],
        environment: dict | str | None,
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Make the stack what the template says, wait for it, give the outputs; raises StackError."""
        with self.site.stacks.lock(stack):
            known = self.site.stacks.load(stack)
            state = known or StackState(self.site.stacks.key(stack), stack.name, stack.project_id)
            pseudo = {
                "OS::stack_name": stack.name, "OS::stack_id": state.id, "OS::project_id": stack.project_id or "",
                "OS::project": stack.project_id or "", "OS::region": stack.region_name or "",
            }  # fmt: skip
            try:
                parsed = templates.parse(template, files, environment, parameters or {}, pseudo, TYPES)
            except templates.TemplateError as error:
                raise StackError(stack.name, error.reason, error.resource, error.resource_type) from error
            self.start()
            state.template, state.status, state.parameters = template, "IN_PROGRESS", dict(parameters or {})
            state.tags, state.region = list(stack.tags), stack.region_name or ""
            state.created = state.created or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            state.files, state.environment = dict(files or {}), environment or {}
            self.site.stacks.save(state)
            return converge.converge(self.site, state, parsed)

    def current(self, stack: Stack) -> dict[str, Any] | None:
        """The template last pushed, None when there is no such stack."""
        state = self.site.stacks.load(stack)
        return state.template if state else None

    def parameters(self, stack: Stack) -> dict[str, Any]:
        """The parameters last pushed."""
        state = self.site.stacks.load(stack)
        return state.parameters if state else {}

    def files(self, stack: Stack) -> dict[str, str]:
        """The files last pushed."""
        state = self.site.stacks.load(stack)
        return state.files if state else {}

    def environment(self, stack: Stack) -> dict[str, Any] | str:
        """The environment last pushed."""
        state = self.site.stacks.load(stack)
        return state.environment if state else {}

    def outputs(self, stack: Stack) -> dict[str, Any]:
        """{output name: value} of the last push that succeeded."""
        state = self.site.stacks.load(stack)
        return state.outputs if state else {}

    def delete(self, stack: Stack) -> None:
        """Remove a stack with all its resources; raises StackError."""
        with self.site.stacks.lock(stack):
            state = self.site.stacks.load(stack)
            if state is None:
                return
            state.status = "DELETING"
            self.site.stacks.save(state)
            converge.remove_all(self.site, state)
            self.site.stacks.remove(state)

    def resources(self, stack: Stack) -> Holdings | None:
        """What the stack has now, also while it is changed or after that failed; None when there is none."""
        state = self.site.stacks.load(stack)
        return None if state is None else _holdings(state)

    def tagged(self, project_id: str, tag: str) -> Sequence[Found]:
        """The project's stacks that have the tag."""
        return [
            Found(
                id=state.id,
                name=state.name,
                region_name=state.region or None,
                tags=tuple(state.tags),
                status=state.status,
                created=state.created,
            )
            for state in self.site.stacks.all()
            if state.project_id == project_id and tag in state.tags
        ]

    # Networks

    def available_cidr(self, network_id: str) -> str:
        """A free network of the lab, the same for the same id while it is free."""
        return str(addressing.free_subnet(self.site.used_networks(), self.site.range, network_id))

    def forward(self, address: str, port: int) -> tuple[str, int]:
        """(host, port) on this machine that leads to a server's port, also where its address cannot be reached."""
        self._known_address(address)
        self.start()
        return self._forwarding.forward(address, port)

    def reachable(self, url: str) -> str:
        """The URL by which this machine reaches an endpoint of a server: itself as root, a forwarded one otherwise."""
        parts = urlsplit(url)
        address = parts.hostname or ""
        if not self.site.isolated or address not in self._server_addresses():
            return url
        self.start()
        if any(ipaddress.IPv4Address(address) in network for network in self.site.routed):
            return url
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host, local = self.forward(address, port)
        return urlunsplit(parts._replace(netloc=f"{host}:{local}"))

    # Tools for people

    def servers(self) -> list[ServerView]:
        """All servers of the lab."""
        views = []
        for server in self.site.objects.all("server"):
            pid, _ = self.site.process_of(server["id"])
            entries = addresses_of(self.site, server).values()
            addresses = dict.fromkeys(entry["addr"] for group in entries for entry in group)
            state = "running" if pid else "recorded" if server["status"] == "RECORDED" else "stopped"
            views.append(ServerView(server["id"], server["name"], state, tuple(addresses), server["stack"], pid))
        return views

    def exec(
        self, server: str, argv: Sequence[str], *, text: str = "", env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command in a server (id or name) as its root; raises CloudError when it does not run."""
        identity = self._server(server)
        if not self.site.process_of(identity)[0]:
            raise CloudError(
                f"server {server!r} does not run; its console tells more (`chandlery lab console {server}`)"
            )
        return self._exec(identity, list(argv), text, dict(env or {}), timeout)

    def console(self, server: str) -> str:
        """What a server has written on its console since it was made; where nothing runs, what it would have run."""
        directory = self.site.server_directory(self._server(server))
        try:
            return (directory / "console.log").read_text(errors="replace")
        except FileNotFoundError:
            return self._recorded(directory)

    def cleanup(self) -> None:
        """End every process and delete every file of the lab, whatever state it is in. Raises CloudError."""
        self.close()
        try:
            self.site.cleanup()
        except (KeeperError, OSError) as error:
            raise CloudError(f"the lab in {self.site.directory} cannot be removed whole: {error}") from error

    def _recorded(self, directory: Path) -> str:
        lines = [f"Recorded, not run: {'; '.join(self.isolation.missing) or 'the server has not started yet'}"]
        for step in (read_json(directory / "seed/boot.json") or {"steps": []})["steps"]:
            name = step.get("name") or step.get("path") or step.get("text") or " ".join(step.get("argv", []))
            lines.append(f"--- {step['kind']} {name}")
            if "content" in step:
                lines.append(base64.b64decode(step["content"]).decode(errors="replace").rstrip())
        return "\n".join(lines) + "\n"

    def _exec(
        self, identity: str, argv: list[str], text: str, env: dict[str, str], timeout: float | None
    ) -> subprocess.CompletedProcess[str]:
        pid, start = self.site.process_of(identity)
        collected: dict[int, list[bytes]] = {1: [], 2: []}
        pipes = {0: os.pipe(), 1: os.pipe(), 2: os.pipe()}
        theirs = (pipes[0][0], pipes[1][1], pipes[2][1])

        def write() -> None:
            with os.fdopen(pipes[0][1], "wb") as stream:
                try:
                    stream.write(text.encode())
                except BrokenPipeError:
                    return  # the command does not read its input

        def read(number: int) -> None:
            with os.fdopen(pipes[number][0], "rb", buffering=0) as stream:
                while data := stream.read(65536):
                    collected[number].append(data)

        threads = [threading.Thread(target=write, daemon=True)]
        threads += [threading.Thread(target=read, args=(number,), daemon=True) for number in (1, 2)]
        for thread in threads:
            thread.start()
        try:
            answer, _ = self.site.keeper.ask(
                "exec",
                theirs,
                pid=pid,
                start=start,
                id=identity,
                group=self.site.group,
                argv=argv,
                env=env,
                limits=LIMITS,
                timeout=timeout,
            )
        except KeeperError as error:
            raise CloudError(f"{argv[0]}: {error}") from error
        finally:
            for number in theirs:
                os.close(number)
        # What the command wrote is in the pipes; processes that it left in the background may keep them open for ever.
        deadline = time.monotonic() + 0.5
        for thread in threads[1:]:
            thread.join(max(0.0, deadline - time.monotonic()))
        out, err = (b"".join(collected[number]).decode(errors="replace") for number in (1, 2))
        return subprocess.CompletedProcess(argv, answer["code"], out, err)

    def _server(self, name_or_id: str) -> str:
        found = self.site.objects.find("server", name_or_id)
        if found is None:
            names = ", ".join(sorted(server["name"] for server in self.site.objects.all("server"))) or "none"
            raise CloudError(f"the lab has no server {name_or_id!r}; it has: {names}")
        return str(found["id"])

    def _server_addresses(self) -> set[str]:
        return {address for server in self.servers() for address in server.addresses}

    def _known_address(self, address: str) -> None:
        if address not in self._server_addresses():
            raise CloudError(f"{address} is no address of a server of this lab")


def _holdings(state: StackState) -> Holdings:
    records = [*state.records.values(), *state.retired]
    return Holdings(
        id=state.id,
        resources=[
            Held(
                id=each.physical,
                name=each.id,
                type=each.type,
                status=_status(each),
                reason=each.reason,
                policy="retain" if each.retained else "delete",
            )
            for each in records
        ],
        status=state.status,
        reason=state.reason,
    )


def _status(record: Record) -> str:
    """A record's status as Heat would say it."""
    action = "DELETE" if record.status == "deleting" else "CREATE"
    if record.reason is not None:
        return f"{action}_FAILED"
    return f"{action}_COMPLETE" if record.status == "ready" else f"{action}_IN_PROGRESS"
