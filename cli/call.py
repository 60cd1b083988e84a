"""One call of a command: its options, where it writes, and a client that logs in when it is first used."""

from __future__ import annotations

import argparse
import os
import pathlib

from cli import client, output


class Call:
    """What every command function is given."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.output = output.Output.of(options.format)
        self._client: client.Client | None = None

    @property
    def data(self) -> pathlib.Path:
        """The data directory of the service on this machine."""
        return pathlib.Path(self.options.data or client.default_data_directory())

    @property
    def client(self) -> client.Client:
        """The REST client; logs in by the ``--os-*`` options, ``OS_*`` variables or the data directory's file."""
        if self._client is None:
            given = {
                f"OS_{name.removeprefix('os_').upper()}": value
                for name, value in vars(self.options).items()
                if name.startswith("os_") and value
            }
            self._client = client.Client(client.Credentials.from_environment({**os.environ, **given}, self.data))
        return self._client
