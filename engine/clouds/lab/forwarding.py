"""Carries connections between the lab's network and this process's: the agent API inwards, endpoints outwards.

Sockets of the lab's network come from the keeper. One thread with an event loop serves all; it ends with the service
and is set up again by the next one, at the same address for the servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from engine.clouds.lab import signals
from engine.clouds.lab.keeper import KeeperError
from engine.clouds.lab.site import AGENT_PORT, Site

_log = logging.getLogger(__name__)
_CHUNK = 64 * 1024
_MAX_CONNECTIONS = 512
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Forwarding:
    """The forwarders of one service process."""

    def __init__(self, site: Site, agent_url: str | None) -> None:
        self.site = site
        self.agent_url = agent_url
        self._loop: asyncio.AbstractEventLoop | None = None
        self._servers: list[asyncio.Server] = []
        self._forwards: dict[tuple[str, int], tuple[str, int]] = {}
        self._agents: asyncio.Server | None = None
        self._keeper = (-1, -1)  # the one whose network the listeners are in
        self._signals: http.server.ThreadingHTTPServer | None = None
        self._lock = threading.Lock()
        self._count = 0

    def open(self) -> None:
        """Listen in the lab for agents and signals; idempotent, and done again when the keeper is a new one."""
        with self._lock:
            keeper = self.site.keeper.process()
            if not self.site.isolated or self._keeper == keeper:
                return
            self._close_lab_listeners()
            self._keeper = keeper
            try:
                self._listen_in_lab()
            except KeeperError as error:
                # Another process of the service has the address, perhaps one that is just ending: take over from it.
                _log.info("waiting for the lab's agent address: %s", error)
                threading.Thread(target=self._retry, args=(keeper,), name="lab-listen", daemon=True).start()

    def forward(self, address: str, port: int) -> tuple[str, int]:
        """A local address that leads to a server's port, made once per port."""
        with self._lock:
            known = self._forwards.get((address, port))
            if known is None:
                listener = socket.socket()
                listener.bind(("127.0.0.1", 0))
                listener.listen(128)
                known = listener.getsockname()
                self._serve(listener, lambda: self._connect_into_lab(address, port))
                self._forwards[(address, port)] = known
            return known

    def close(self) -> None:
        """Stop forwarding; servers live on."""
        with self._lock:
            self._keeper = (-1, -1)
            self._close_lab_listeners()
            loop, self._loop = self._loop, None
            self._forwards.clear()
            if loop is not None:
                loop.call_soon_threadsafe(self._end, loop)

    def _listen_in_lab(self) -> None:
        listener = self._lab_listener(signals.SIGNAL_PORT)
        if self.agent_url is not None:
            target = urlsplit(self.agent_url)
            host, port = target.hostname or "127.0.0.1", target.port or 80
            try:
                self._agents = self._serve(self._lab_listener(AGENT_PORT), lambda: asyncio.open_connection(host, port))
            except KeeperError:
                listener.close()
                raise
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), signals.handler_for(self.site), False)
        server.socket.close()
        server.socket = listener
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), name="lab-signals", daemon=True).start()
        self._signals = server

    def _retry(self, keeper: tuple[int, int]) -> None:
        while True:
            time.sleep(0.5)
            with self._lock:
                if self._keeper != keeper:
                    return
                try:
                    return self._listen_in_lab()
                except KeeperError:
                    continue

    def _close_lab_listeners(self) -> None:
        if self._signals is not None:
            self._signals.shutdown()
            self._signals.socket.close()
            self._signals = None
        if self._agents is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._agents.close)
        self._agents = None

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        ended = asyncio.gather(*tasks, return_exceptions=True)  # a task closes its connections before it ends
        ended.add_done_callback(lambda _: loop.stop())

    def _lab_listener(self, port: int) -> socket.socket:
        _, descriptors = self.site.keeper.ask("listen", address=self.site.range.service, port=port)
        return socket.socket(fileno=descriptors[0])

    def _serve(self, listener: socket.socket, connect: Connect) -> asyncio.Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._count >= _MAX_CONNECTIONS:
                writer.close()
                return
            self._count += 1
            try:
                await _join(reader, writer, connect)
            finally:
                self._count -= 1

        async def start() -> asyncio.Server:
            self._servers.append(await asyncio.start_server(serve, sock=listener))
            return self._servers[-1]

        return asyncio.run_coroutine_threadsafe(start(), self._running_loop()).result(10)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="lab-forwarding", daemon=True).start()
        return self._loop

    async def _connect_into_lab(self, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        def ask() -> socket.socket:
            try:
                _, descriptors = self.site.keeper.ask("connect", address=address, port=port)
            except KeeperError as error:
                raise ConnectionError(str(error)) from error
            return socket.socket(fileno=descriptors[0])

        connection = await asyncio.to_thread(ask)
        connection.setblocking(False)
        return await asyncio.open_connection(sock=connection)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connect: Connect) -> None:
    """Connect to the other side and copy both ways until both have ended."""
    with contextlib.closing(writer):
        try:
            other_reader, other_writer = await connect()
        except OSError:
            return  # the client sees its connection end, as with any dead server
        with contextlib.closing(other_writer):
            await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()
