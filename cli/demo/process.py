"""The all-in-one service as a child process: started, waited for, killed without warning, started again."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import subprocess
import sys
import time

import requests

from cli import errors

# Seconds. A start takes about three on a slow machine.
START_PATIENCE = 60.0


class ServiceProcess:
    """``chandlery serve`` with this data directory, port and repository."""

    def __init__(self, data: pathlib.Path, port: int, repository: str) -> None:
        self.data = data
        self.url = f"http://127.0.0.1:{port}"
        self.log = data / "service.log"
        self._command = [sys.executable, "-m", "cli.main", "serve", "--data", str(data)]
        self._command += ["--port", str(port), "--repository", f"community={repository}"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and wait until it is healthy; returns the seconds that took.

        Raises CommandError with the service's own last words if it does not come up.
        """
        began = time.monotonic()
        self.data.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is ours to handle, in order.
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        while time.monotonic() - began < START_PATIENCE:
            if self._process.poll() is not None:
                raise errors.CommandError(f"The service did not start: {self._last_words()}", code=errors.FAILED)
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.url}/healthcheck", timeout=1).ok:
                    return time.monotonic() - began
            time.sleep(0.05)
        self.stop()
        raise errors.CommandError(
            f"The service was not healthy after {START_PATIENCE:.0f} s; see {self.log}.", code=errors.FAILED
        )

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is said goodbye to."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and patience."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()

    def memory_mib(self) -> float:
        """Resident memory of the process, in MiB."""
        if self._process is None:
            return 0.0
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(resident.split()[1]) / 1024

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line for line in lines if line.startswith("chandlery: ")]
        return said[-1].removeprefix("chandlery: ") if said else f"see {self.log}"
