"""Readiness and liveness of one container, looked at by a thread of its own. Without a readiness probe its first port
must answer.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time

QUICK_SECONDS, SLOW_SECONDS = 0.05, 1.0  # between looks until it is ready, and afterwards
LIVENESS_FAILURES = 3


class Probes:
    """`ready`, and `failed` when the liveness probe says that the container must be started again."""

    def __init__(self, spec: dict, address: str) -> None:
        self.spec, self.address = spec, address
        self.ready = False
        self.failed = False
        self.stopped = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def stop(self) -> None:
        self.stopped.set()

    def run(self) -> None:
        readiness, liveness = self.spec.get("readinessProbe"), self.spec.get("livenessProbe")
        ports = self.spec.get("ports", [])
        first = {"tcpSocket": {"port": ports[0]["containerPort"]}} if ports else {}
        failures, was_alive = 0, False
        begun = time.monotonic()
        while not self.stopped.is_set():
            self.ready = self.answers(readiness or first)
            if liveness:
                alive = self.answers(liveness)
                was_alive = was_alive or alive
                limit = max(int(liveness.get("failureThreshold", LIVENESS_FAILURES)), 1)
                failures = 0 if alive or (not was_alive and time.monotonic() - begun < 30) else failures + 1
                self.failed = failures >= limit
            self.stopped.wait(SLOW_SECONDS if self.ready else QUICK_SECONDS)

    def answers(self, probe: dict) -> bool:
        timeout = max(float(probe.get("timeoutSeconds", 1)), 1.0)
        try:
            if "httpGet" in probe:
                wanted = probe["httpGet"]
                connection = http.client.HTTPConnection(self.address, self.port(wanted["port"]), timeout=timeout)
                try:
                    connection.request("GET", wanted.get("path", "/"))
                    return connection.getresponse().status < 400
                finally:
                    connection.close()
            if "tcpSocket" in probe:
                socket.create_connection((self.address, self.port(probe["tcpSocket"]["port"])), timeout=timeout).close()
            return True
        except (OSError, http.client.HTTPException, LookupError):
            return False

    def port(self, wanted: int | str) -> int:
        if isinstance(wanted, int):
            return wanted
        return int(next(port["containerPort"] for port in self.spec.get("ports", []) if port.get("name") == wanted))
