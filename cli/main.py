"""The ``chandlery`` command: reads the command line, calls a function of ``cli.commands``, makes errors exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from cli import errors
from cli.call import Call
from cli.commands import COMMANDS
from engine.clouds import ports


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (``cli.errors``). The message of an error goes to standard error."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(Call(options)) or errors.OK
    except errors.CommandError as error:
        print(f"chandlery: {error.message}", file=sys.stderr)
        for hint in error.hints:
            print(f"  {hint}", file=sys.stderr)
        return error.code
    except ports.CloudError as error:
        print(f"chandlery: {error}", file=sys.stderr)
        return errors.FAILED
    except KeyboardInterrupt:
        print("chandlery: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return errors.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chandlery", description="An application catalog for OpenStack.")
    parser.add_argument("--os-auth-url", metavar="URL", help="identity v3 endpoint (default: OS_AUTH_URL)")
    parser.add_argument("--os-username", metavar="NAME")
    parser.add_argument("--os-password", metavar="SECRET")
    parser.add_argument("--os-project-name", metavar="NAME")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "-f", "--format", choices=("table", "json"), default="table", help="for people, or for machines"
    )
    shared.add_argument("--data", metavar="DIR", help="data directory of the service on this machine")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(subparsers, shared)
    return parser


if __name__ == "__main__":
    sys.exit(main())
