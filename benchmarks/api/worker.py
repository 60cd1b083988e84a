"""One worker process of the API, as a WSGI server runs it: `worker.py PORT THREADS`, configured by CHANDLERY_CONFIG."""

from __future__ import annotations

import sys

import cheroot.wsgi

from catalog.wsgi import application


def main() -> None:
    """Serves until the process is ended."""
    port, threads = int(sys.argv[1]), int(sys.argv[2])
    server = cheroot.wsgi.Server(("127.0.0.1", port), application, numthreads=threads)
    server.start()


if __name__ == "__main__":
    main()
