"""How many requests a process has answered, how fast, and for whom: what `GET /v1/stats` shows. spec/api-v1 §1.13."""

from __future__ import annotations

import collections
import datetime
import json
import os
import socket
import threading
import time
from typing import Any

from catalog.api.timestamps import timestamp

MOST_PROJECTS = 1000  # projects counted one by one; the rest counts in the totals only


class Counters:
    """Counts of one process since its start. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._created = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        self._started = time.monotonic()
        self._requests = 0
        self._errors = 0
        self._seconds = 0.0
        self._projects: collections.Counter[str] = collections.Counter()

    def count(self, *, seconds: float, failed: bool, project_id: str) -> None:
        """One more answer."""
        with self._lock:
            self._requests += 1
            self._errors += failed
            self._seconds += seconds
            if project_id and (project_id in self._projects or len(self._projects) < MOST_PROJECTS):
                self._projects[project_id] += 1

    def shown(self) -> dict[str, Any]:
        """The counts as clients see them."""
        with self._lock:
            uptime = max(time.monotonic() - self._started, 1e-6)
            times = os.times()
            return {
                "id": 1,
                "host": socket.gethostname(),
                "created": timestamp(self._created),
                "updated": timestamp(datetime.datetime.now(datetime.UTC).replace(tzinfo=None)),
                "request_count": self._requests,
                "error_count": self._errors,
                "average_response_time": self._seconds / self._requests if self._requests else 0.0,
                "requests_per_tenant": json.dumps(dict(self._projects)),
                "requests_per_second": self._requests / uptime,
                "errors_per_second": self._errors / uptime,
                "cpu_count": os.cpu_count(),
                "cpu_percent": 100.0 * (times.user + times.system) / uptime,
            }
