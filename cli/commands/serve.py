"""``chandlery serve``: the all-in-one service, in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from typing import Any

from cli import errors
from cli.call import Call


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = subparsers.add_parser("serve", parents=[shared], help="run the all-in-one service on this machine")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8082)
    parser.add_argument(
        "--repository", action="append", default=[], metavar="NAME=URL", help="community repository; may be repeated"
    )
    parser.add_argument("--debug", action="store_true", help="log more")
    parser.set_defaults(run=run)


def run(call: Call) -> int:
    """Serve."""
    from cli import all_in_one

    options = call.options
    level = logging.DEBUG if options.debug else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = all_in_one.Settings(
        data=call.data.absolute(), host=options.host, port=options.port, repositories=tuple(options.repository)
    )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with all_in_one.running(settings) as server:
        thread = threading.Thread(target=server.serve, name="web", daemon=True)
        thread.start()
        call.output.result({"url": settings.url, "data": str(settings.data)}, f"Chandlery serves {settings.url}")
        call.output.say(f"Dashboard: {settings.url}/dashboard/   accounts: {settings.data}/credentials.json")
        ended.wait()
    return errors.OK
