"""Runs `ip` and `tc` (iproute2) in the namespace of a process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence

from engine.clouds.lab.sandbox import syscalls


class NetworkError(Exception):
    """A network command failed; the message has the command and what the kernel said."""


def ip_batch(commands: Sequence[str], namespace_of: int | None = None, ignore_errors: bool = False) -> str:
    """Run `ip` commands in one process, in the network namespace of a process (None: the caller's own)."""
    text = "\n".join(commands) + "\n"
    arguments = ["ip", "-force", "-batch", "-"] if ignore_errors else ["ip", "-batch", "-"]
    return run_in_namespace(arguments, namespace_of, text, ignore_errors)


def run_in_namespace(
    arguments: Sequence[str], namespace_of: int | None = None, text: str = "", ignore_errors: bool = False
) -> str:
    """Run a command with standard input `text` and give its output; raises NetworkError."""
    done = subprocess.run(
        list(arguments),
        input=text,
        capture_output=True,
        text=True,
        preexec_fn=_joining(namespace_of),
        timeout=30,
        check=False,
    )
    if done.returncode and not ignore_errors:
        reason = done.stderr.strip() or f"exit code {done.returncode}"
        raise NetworkError(f"{' '.join(arguments)}: {reason} (commands: {text.strip()!r})")
    return done.stdout


def _joining(pid: int | None) -> Callable[[], None] | None:
    if pid is None:
        return None

    def join() -> None:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        syscalls.setns(descriptor, syscalls.CLONE_NEWNET)
        os.close(descriptor)

    return join
