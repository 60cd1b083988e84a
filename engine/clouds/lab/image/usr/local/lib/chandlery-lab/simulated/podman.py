"""podman, simulated: the commands that packages' scripts use. Each container has a supervisor that starts it again as
its policy says.

Containers share the server's network: each listens on a loopback address of its own, and published ports lead there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import time

from simulated import NOTICE, containers, jsontemplate, system

VERSION = "5.3.1"
FOLDER = system.path(f"{system.STATE}/podman")
START_SECONDS = 5
POLICIES = ("no", "always", "on-failure", "unless-stopped")


class Problem(Exception):
    """What podman refuses; exit code 125."""


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return int(options.action(options) or 0)
    except (Problem, containers.UnknownImage, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 125


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="podman", description=f"podman, {NOTICE}")
    whole.add_argument("--version", "-v", action="version", version=f"podman version {VERSION} ({NOTICE})")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, action: object, *positions: str, group: argparse._SubParsersAction = commands
    ) -> argparse.ArgumentParser:
        made = group.add_parser(name)
        made.set_defaults(action=action)
        for position in positions:
            made.add_argument(position.rstrip("*"), nargs="*" if position.endswith("*") else None)
        return made

    made = command("pull", pull, "images*")
    made.add_argument("--quiet", "-q", action="store_true")
    made.add_argument("--tls-verify", nargs="?")
    for name in ("run", "create"):
        made = command(name, run if name == "run" else create, "image")
        made.add_argument("arguments", nargs=argparse.REMAINDER)
        for option in (
            ("--detach", "-d"),
            ("--replace",),
            ("--rm",),
            ("--interactive", "-i"),
            ("--tty", "-t"),
            ("--privileged",),
            ("--init",),
            ("--quiet", "-q"),
        ):
            made.add_argument(*option, action="store_true")
        made.add_argument("--name")
        made.add_argument("--restart", default="no")
        for option in (("--publish", "-p"), ("--env", "-e"), ("--env-file",), ("--volume", "-v"), ("--label", "-l")):
            made.add_argument(*option, action="append", default=[])
        for option in (
            ("--hostname",),
            ("--network", "--net"),
            ("--memory", "-m"),
            ("--cpus",),
            ("--user", "-u"),
            ("--pull",),
            ("--log-driver",),
            ("--entrypoint",),
        ):
            made.add_argument(*option)
    for name, action in (("start", start), ("stop", stop), ("restart", restart)):
        command(name, action, "names*").add_argument("--time", "-t", type=float, default=2)
    made = command("kill", kill, "names*")
    made.add_argument("--signal", "-s", default="KILL")
    for name in ("rm", "container-rm"):
        made = command(name, remove, "names*")
        for option in (("--force", "-f"), ("--ignore", "-i"), ("--volumes", "-v"), ("--all", "-a")):
            made.add_argument(*option, action="store_true")
        made.add_argument("--time", "-t", type=float, default=2)
    made = command("ps", show_all)
    for option in (("--all", "-a"), ("--quiet", "-q"), ("--noheading",)):
        made.add_argument(*option, action="store_true")
    made.add_argument("--format")
    made.add_argument("--filter", "-f", action="append", default=[])
    made = command("inspect", inspect, "names*")
    made.add_argument("--format", "-f")
    made.add_argument("--type")
    made = command("logs", logs, "name")
    made.add_argument("--tail", type=int)
    made.add_argument("--timestamps", "-t", action="store_true")
    command("images", images)
    command("version", lambda _options: print(f"Client: Podman Engine\nVersion: {VERSION}\nSimulated: {NOTICE}"))
    command(
        "info", lambda _options: print(json.dumps({"version": {"Version": VERSION}, "simulated": NOTICE}, indent=1))
    )
    made = command("volume", None)
    volume = made.add_subparsers(required=True, metavar="create")
    command(
        "create",
        create_volume,
        "name",
        group=volume,
    )
    made = command("container", None)
    container = made.add_subparsers(required=True, metavar="exists")
    command("exists", lambda options: 0 if find(options.name) else 1, "name", group=container)
    made = command("inspect", inspect, "names*", group=container)
    made.add_argument("--format", "-f")
    return whole


# ---- commands


def pull(options: argparse.Namespace) -> None:
    for image in options.images:
        containers.program_of(image)
        if not options.quiet:
            print(f"Trying to pull {image}... ({NOTICE}: nothing is downloaded)", file=sys.stderr)
        names = pulled()
        names.setdefault(image, secrets.token_hex(32))
        system.write_json(os.path.join(FOLDER, "images.json"), names)
        print(names[image])


def run(options: argparse.Namespace) -> None:
    if not options.detach:
        raise Problem(f"only 'podman run --detach' is simulated ({NOTICE})")
    record = make(options)
    begin(record)
    print(record["Id"])


def create(options: argparse.Namespace) -> None:
    print(make(options)["Id"])


def make(options: argparse.Namespace) -> dict:
    """The container's record, on disk."""
    containers.program_of(options.image)
    policy = options.restart.partition(":")[0]
    if policy not in POLICIES:
        raise Problem(f'invalid restart policy "{options.restart}": expected one of {", ".join(POLICIES)}')
    name = options.name or f"simulated-{secrets.token_hex(4)}"
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", name):
        raise Problem(f"container name {name!r}: must match [a-zA-Z0-9][a-zA-Z0-9_.-]*")
    if find(name):
        if not options.replace:
            raise Problem(f'the container name "{name}" is already in use; use --replace to replace it')
        discard(name, 2)
    environment: dict[str, str] = {}
    for file_name in options.env_file:
        with open(file_name, encoding="utf-8") as file:
            lines = [line.rstrip("\n") for line in file]
        environment |= dict(environment_entry(line) for line in lines if line.strip() and not line.startswith("#"))
    environment |= dict(environment_entry(entry) for entry in options.env)
    record = {
        "Id": secrets.token_hex(32),
        "Name": name,
        "Image": options.image,
        "Environment": environment,
        "Arguments": options.arguments,
        "Ports": [published(text) for text in options.publish],
        "Mounts": [mount(text, name) for text in options.volume],
        "Labels": dict(label.partition("=")[::2] for label in options.label),
        "Restart": policy,
        "Address": free_address(),
        "Created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "Remove": options.rm,
    }
    system.write_json(os.path.join(FOLDER, name, "container.json"), record)
    return record


def environment_entry(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    return name, value if sign else os.environ.get(name, "")


def published(text: str) -> dict:
    match = re.fullmatch(
        r"(?:(?P<ip>\d+(?:\.\d+){3}):)?(?:(?P<host>\d+)?:)?(?P<port>\d+)(?:/(?P<protocol>tcp|udp))?", text
    )
    if match is None:
        raise Problem(f"port {text!r}: expected [ADDRESS:][HOSTPORT:]PORT[/tcp]")
    if match["protocol"] == "udp":
        raise Problem(f"port {text!r}: the Chandlery lab publishes TCP ports only")
    return {
        "host_ip": match["ip"] or "0.0.0.0",  # noqa: S104 - podman's default
        "host_port": int(match["host"] or match["port"]),
        "container_port": int(match["port"]),
    }


def mount(text: str, name: str) -> list:
    parts = text.split(":")
    if len(parts) == 1:
        parts = [secrets.token_hex(16), parts[0]]
    source, target, options = parts[0], parts[1], ",".join(parts[2:])
    if not source.startswith(("/", ".")):
        source = volume_folder(source)
        os.makedirs(source, exist_ok=True)
    elif not os.path.exists(source):
        raise Problem(f"statfs {source}: no such file or directory (volume of container {name})")
    return [os.path.abspath(source), target, "ro" in options.split(",")]


def volume_folder(name: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", name):
        raise Problem(f"volume name {name!r}: must match [a-zA-Z0-9][a-zA-Z0-9_.-]*")
    return os.path.join(os.path.dirname(FOLDER), "volumes", name)


def create_volume(options: argparse.Namespace) -> None:
    os.makedirs(volume_folder(options.name), exist_ok=True)
    print(options.name)


def start(options: argparse.Namespace) -> None:
    for record in map(known, options.names):
        begin(record)
        print(record["Name"])


def stop(options: argparse.Namespace) -> None:
    for record in map(known, options.names):
        supervisor(record["Name"]).stop(options.time + 1)
        print(record["Name"])


def restart(options: argparse.Namespace) -> None:
    for record in map(known, options.names):
        supervisor(record["Name"]).stop(options.time + 1)
        begin(record)
        print(record["Name"])


def kill(options: argparse.Namespace) -> None:
    number = getattr(signal, "SIG" + options.signal.upper().removeprefix("SIG"), None) or int(options.signal)
    for record in map(known, options.names):
        state = state_of(record)
        if state["Status"] != "running":
            raise Problem(f"can only kill running containers. {record['Name']} is in state {state['Status']}")
        os.kill(state["Pid"], number)
        print(record["Name"])


def remove(options: argparse.Namespace) -> None:
    names = [record["Name"] for record in everything()] if options.all else options.names
    for name in names:
        record = find(name)
        if record is None:
            if options.ignore or options.force:
                continue
            raise Problem(f'no container with name or ID "{name}" found: no such container')
        if state_of(record)["Status"] == "running" and not options.force:
            raise Problem(f"cannot remove container {name} as it is running: use --force")
        discard(record["Name"], options.time)
        print(name)


def show_all(options: argparse.Namespace) -> None:
    wanted = dict(text.partition("=")[::2] for text in options.filter)
    records = [(record, state_of(record)) for record in everything()]
    records = [pair for pair in records if options.all or "status" in wanted or pair[1]["Status"] == "running"]
    records = [
        pair
        for pair in records
        if wanted.get("name", "") in pair[0]["Name"] and wanted.get("status", pair[1]["Status"]) == pair[1]["Status"]
    ]
    if options.format == "json":
        print(json.dumps([listing(*pair) for pair in records], indent=1))
    elif options.quiet:
        print("\n".join(record["Id"][:12] for record, _state in records))
    elif options.format:
        for pair in records:
            print(jsontemplate.render(options.format, {**listing(*pair), "Names": pair[0]["Name"]}))
    else:
        rows = [] if options.noheading else [("CONTAINER ID", "IMAGE", "STATUS", "PORTS", "NAMES")]
        rows += [
            (record["Id"][:12], record["Image"], state["Status"], shown_ports(record), record["Name"])
            for record, state in records
        ]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, (12, 44, 10, 30, 0), strict=True)))


def listing(record: dict, state: dict) -> dict:
    ports = [{**port, "range": 1, "protocol": "tcp"} for port in record["Ports"]]
    return {
        "Id": record["Id"],
        "Names": [record["Name"]],
        "Image": record["Image"],
        "State": state["Status"],
        "Status": f"{state['Status']} ({NOTICE})",
        "Pid": state["Pid"],
        "Restarts": state["RestartCount"],
        "Ports": ports,
        "Labels": record["Labels"],
        "Mounts": [entry[1] for entry in record["Mounts"]],
        "CreatedAt": record["Created"],
    }


def inspect(options: argparse.Namespace) -> None:
    found = [details(known(name)) for name in options.names]
    if options.format:
        for item in found:
            print(jsontemplate.render(options.format, item))
    else:
        print(json.dumps(found, indent=4))


def details(record: dict) -> dict:
    state = state_of(record)
    ports = {
        f"{port['container_port']}/tcp": [{"HostIp": port["host_ip"], "HostPort": str(port["host_port"])}]
        for port in record["Ports"]
    }
    return {
        "Id": record["Id"],
        "Name": record["Name"],
        "Created": record["Created"],
        "ImageName": record["Image"],
        "Args": record["Arguments"],
        "RestartCount": state["RestartCount"],
        "State": {
            "Status": state["Status"],
            "Running": state["Status"] == "running",
            "Pid": state["Pid"],
            "ExitCode": state["ExitCode"],
            "StartedAt": state["StartedAt"],
        },
        "Config": {
            "Env": [f"{name}={value}" for name, value in record["Environment"].items()],
            "Image": record["Image"],
            "Labels": record["Labels"],
        },
        "HostConfig": {
            "RestartPolicy": {"Name": record["Restart"]},
            "Binds": [f"{entry[0]}:{entry[1]}" for entry in record["Mounts"]],
        },
        "Mounts": [
            {"Type": "bind", "Source": entry[0], "Destination": entry[1], "RW": not entry[2]}
            for entry in record["Mounts"]
        ],
        "NetworkSettings": {"IPAddress": record["Address"], "Ports": ports},
        "Simulated": NOTICE,
    }


def logs(options: argparse.Namespace) -> None:
    record = known(options.name)
    name = os.path.join(FOLDER, record["Name"], "log")
    with open(name, encoding="utf-8", errors="replace") if os.path.exists(name) else open(os.devnull) as file:
        lines = file.readlines()
    sys.stdout.writelines(lines if options.tail is None else lines[len(lines) - min(options.tail, len(lines)) :])


def images(_options: argparse.Namespace) -> None:
    print("REPOSITORY                                  IMAGE ID")
    for name, identity in pulled().items():
        print(f"{name.ljust(44)}{identity[:12]}")


# ---- records


def everything() -> list[dict]:
    names = sorted(os.listdir(FOLDER)) if os.path.isdir(FOLDER) else []
    records = [system.read_json(os.path.join(FOLDER, name, "container.json")) for name in names]
    return [record for record in records if record]


def find(name: str) -> dict | None:
    by_name = [record for record in everything() if record["Name"] == name]
    return next(
        iter(by_name or [record for record in everything() if len(name) >= 12 and record["Id"].startswith(name)]), None
    )


def known(name: str) -> dict:
    record = find(name)
    if record is None:
        raise Problem(f'no container with name or ID "{name}" found: no such container')
    return record


def pulled() -> dict:
    return system.read_json(os.path.join(FOLDER, "images.json")) or {}


def supervisor(name: str) -> system.Daemon:
    return system.Daemon(f"podman-{name}")


def state_of(record: dict) -> dict:
    """What the supervisor last wrote, corrected by whether it lives."""
    state = system.read_json(os.path.join(FOLDER, record["Name"], "state.json"))
    empty = {"Status": "created", "Pid": 0, "RestartCount": 0, "ExitCode": 0, "StartedAt": ""}
    if state is None:
        return empty
    if state["Status"] == "running" and supervisor(record["Name"]).pid() is None:
        return {**state, "Status": "exited", "Pid": 0}
    return {**empty, **state}


def begin(record: dict) -> None:
    """Starts the supervisor and waits until the container runs."""
    daemon = supervisor(record["Name"])
    if daemon.pid() is not None:
        return
    state_file = os.path.join(FOLDER, record["Name"], "state.json")
    if os.path.exists(state_file):
        os.unlink(state_file)
    for port in record["Ports"]:
        check_free(port)
    daemon.start("simulated.supervisor", os.path.join(FOLDER, record["Name"]))
    deadline = time.monotonic() + START_SECONDS
    while system.read_json(state_file) is None:
        if daemon.pid() is None or time.monotonic() > deadline:
            raise Problem(f"container {record['Name']} did not start; see {daemon.log}")
        time.sleep(0.01)


def check_free(port: dict) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port["host_ip"], port["host_port"]))
        except OSError as error:
            raise Problem(
                f"cannot listen on {port['host_ip']}:{port['host_port']}: {(error.strerror or str(error)).lower()}"
            ) from None


def discard(name: str, seconds: float) -> None:
    supervisor(name).stop(seconds + 1)
    shutil.rmtree(os.path.join(FOLDER, name))


def free_address() -> str:
    """A loopback address of its own; at random, since other servers may share this network where none can be made."""
    taken = {record["Address"] for record in everything()}
    while True:
        address = f"127.88.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
        if address not in taken:
            return address


def shown_ports(record: dict) -> str:
    return ", ".join(f"{port['host_ip']}:{port['host_port']}->{port['container_port']}/tcp" for port in record["Ports"])


if __name__ == "__main__":
    sys.exit(main())
