"""The first process of a lab server (runs inside, standard library only): carries out the boot data, then reaps.

The boot plan was made from the cloud-init data by the service (engine/clouds/lab/bootdata.py) and lies read-only in
/var/lib/cloud/seed/boot.json. As in cloud-init, a failing step is told on the console and does not stop the next ones.
"""

from __future__ import annotations

import base64
import contextlib
import grp
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

SEED = Path("/var/lib/cloud/seed/boot.json")
INSTANCE = Path("/var/lib/cloud/instance")
# Of the image: brings back what ran before a restart (containers, kubelet), as systemd would.
RESTART = "/usr/local/lib/chandlery-lab/boot"


def main() -> None:
    """Boot, then stay as the server's pid 1 until the kernel ends it."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        boot()
    except Exception as error:  # the server lives on, whatever its boot data or its tree have come to
        say(f"chandlery-init: boot ended early: {error!r}")
    reap_forever()


def boot() -> None:
    """All steps of the boot plan, told on the console."""
    started = time.monotonic()
    plan = json.loads(SEED.read_text())
    with contextlib.suppress(OSError):
        say(Path("/etc/motd").read_text().strip())
    say(f"chandlery-init: {plan['hostname']} boots, {len(plan['steps'])} steps")
    INSTANCE.mkdir(parents=True, exist_ok=True)
    prepare(plan)
    failures = 0
    again = (INSTANCE / "boot-finished").exists()
    for number, step in enumerate(plan["steps"], 1):
        try:
            failures += carry_out(step, number)
        except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
            failures += 1
            say(f"chandlery-init: step {number} ({step['kind']}): {error}")
    if again and os.access(RESTART, os.X_OK):
        failures += run([RESTART], RESTART)
    seconds = time.monotonic() - started
    result = {"failures": failures, "seconds": round(seconds, 3)}
    (INSTANCE / "boot-finished").write_text(json.dumps(result) + "\n")
    say(f"chandlery-init: boot finished after {seconds:.2f} s, {failures} failed steps")


def prepare(plan: dict) -> None:
    """Names of this machine, known before the first step."""
    name = plan["hostname"]
    Path("/etc/hostname").write_text(name + "\n")
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost", *plan.get("hosts", [])]
    Path("/etc/hosts").write_text("\n".join(lines) + "\n")
    (INSTANCE / "user-data.txt").write_text(plan.get("user_data", ""))
    (INSTANCE / "instance-id").write_text(plan["id"] + "\n")


def carry_out(step: dict, number: int) -> int:
    """One step; gives the number of failures (0 or 1)."""
    kind = step["kind"]
    if kind == "write":
        write_file(step)
        return 0
    if kind == "note":
        say(f"chandlery-init: {step['text']}")
        return 0
    if kind == "run":
        command = step["argv"]
        return run(command, " ".join(command))
    if kind == "script":
        scripts = INSTANCE / "scripts"
        scripts.mkdir(parents=True, exist_ok=True)
        path = scripts / f"{number:03d}-{os.path.basename(step['name'])}"
        path.write_bytes(base64.b64decode(step["content"]))
        path.chmod(0o700)
        return run([str(path)], step["name"])
    raise ValueError(f"unknown kind of step {kind!r}")


def write_file(step: dict) -> None:
    """A file of `write_files`: content, mode, owner."""
    path = Path(step["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab" if step.get("append") else "wb") as stream:
        stream.write(base64.b64decode(step["content"]))
    path.chmod(step.get("mode", 0o644))
    owner = step.get("owner")
    if owner:
        user, _, group = owner.partition(":")
        os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid if group else -1)


def run(command: list[str], name: str) -> int:
    """Run a command with the console as its output. Wait for it alone: what it leaves in the background goes on."""
    say(f"chandlery-init: runs {name[:200]}")
    environment = {**os.environ, "INSTANCE_ID": "lab", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, cwd="/", env=environment, start_new_session=True, preexec_fn=as_usual
        )
    except OSError as error:
        if error.errno != 8:  # ENOEXEC: a script without a shebang runs in the shell, as cloud-init and agents do
            raise
        process = subprocess.Popen(
            ["/bin/sh", *command], stdin=subprocess.DEVNULL, cwd="/", env=environment, start_new_session=True,
            preexec_fn=as_usual,
        )  # fmt: skip
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == process.pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            break
    if process.returncode:
        say(f"chandlery-init: {name[:200]} ended with exit code {process.returncode}")
    return int(process.returncode != 0)


def as_usual() -> None:
    """Signals as every program expects them."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


def reap_forever() -> None:
    """Collect orphans as they end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        signal.sigtimedwait([signal.SIGCHLD], 60)


def say(text: str) -> None:
    """A line on the console."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
