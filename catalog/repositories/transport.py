"""Fetching files from a repository, which may be slow, endless, broken or pointing elsewhere on purpose.

Every fetch has a size limit and time limits. The operator configures the origin of a repository; a redirect may
leave it only for public addresses, checked on the very connection that is made, so that no name service can trick
it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import time
import urllib.parse
from collections.abc import Callable, Collection
from typing import Any, Protocol

import urllib3

from catalog.db import base, repositories

REDIRECTS = 5
CHUNK = 64 << 10


class RepositoryError(Exception):
    """A repository that cannot be read; the message says which, what was expected and what was found."""


class NotThere(RepositoryError):
    """The repository has no such file."""


class Refused(RepositoryError):
    """A place that is not asked at all."""


class TooLong(RepositoryError):
    """A file is longer than it may be."""


class Transport(Protocol):
    """Files of one repository."""

    def fetch(self, path: str, limit: int) -> bytes:
        """The content of a file, at most `limit` bytes. Raises `NotThere`, `RepositoryError`."""


class Directory:
    """A repository in a folder of this machine."""

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root)

    def fetch(self, path: str, limit: int) -> bytes:
        found = os.path.realpath(os.path.join(self._root, path))
        if os.path.commonpath([found, self._root]) != self._root:
            raise RepositoryError(f"{path}: expected a file below {self._root}, found a link that leads out of it")
        try:
            with open(found, "rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotThere(f"{path}: there is no such file in {self._root}")
        except OSError as failure:
            raise RepositoryError(f"{found}: {failure.strerror}")
        if len(data) > limit:
            raise TooLong(f"{found}: expected at most {limit} bytes, found more")
        return data


class Web:
    """A repository behind an HTTP(S) URL. What the server says is unchanged is taken from the database.

    Redirects lead to the origin itself, to `allowed` hosts and to public addresses. `trusts_url=False` is for a URL
    that somebody else than the operator has chosen: it has to be public, too.
    """

    def __init__(
        self,
        url: str,
        database: base.Database | None,
        *,
        timeout: float,
        total: float,
        allowed: Collection[str] = (),
        trusts_url: bool = True,
    ) -> None:
        self._url = url
        self._database = database
        self._total = total
        self._allowed = frozenset(host.lower() for host in allowed)
        self._origin = _origin(url) if trusts_url else None
        limits = urllib3.Timeout(connect=timeout, read=timeout)
        options: dict[str, Any] = {"timeout": limits, "retries": False, "maxsize": 4}
        self._trusted = urllib3.PoolManager(**options)
        self._guarded = urllib3.PoolManager(**options)
        self._guarded.pool_classes_by_scheme = {"http": _GuardedPool, "https": _GuardedSecurePool}

    def fetch(self, path: str, limit: int) -> bytes:
        url = f"{self._url.rstrip('/')}/{path}" if path else self._url
        known = self._known(url)
        headers = {"Accept-Encoding": "identity", "User-Agent": "chandlery"}
        if known is not None and known.etag:
            headers["If-None-Match"] = known.etag
        elif known is not None and known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        try:
            answer = self._open(url, headers)
            try:
                if answer.status == 304 and known is not None:
                    return bytes(known.data)
                _check_status(url, answer)
                data = _read(url, answer, limit, time.monotonic() + self._total)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, UnicodeError) as failure:
            raise RepositoryError(f"{url}: expected a file, the server did not send it: {_reason(failure)}")
        self._keep(url, data, answer)
        return data

    def _open(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        place = url
        for _ in range(REDIRECTS + 1):
            pool = self._trusted if self._is_trusted(place) else self._guarded
            answer = pool.request("GET", place, headers=headers, redirect=False, preload_content=False)
            target = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                return answer
            answer.close()
            place = urllib.parse.urljoin(place, target)
            if urllib.parse.urlsplit(place).scheme not in ("http", "https"):
                raise Refused(f"{url}: expected a redirect to http or https, found {place[:200]}")
        raise RepositoryError(f"{url}: expected a file, found more than {REDIRECTS} redirects")

    def _is_trusted(self, place: str) -> bool:
        origin = _origin(place)
        return origin == self._origin or origin[1].lower() in self._allowed

    def _known(self, url: str) -> repositories.CachedFile | None:
        if self._database is None:
            return None
        with self._database.reading() as session:
            return repositories.get(session, url)

    def _keep(self, url: str, data: bytes, answer: urllib3.BaseHTTPResponse) -> None:
        etag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
        fits = len(etag or "") <= 255 and len(modified or "") <= 64
        if self._database is not None and (etag or modified) and fits:
            with self._database.transaction() as session:
                repositories.put(session, url, data, etag=etag, last_modified=modified)


def _check_status(url: str, answer: urllib3.BaseHTTPResponse) -> None:
    if answer.status in (404, 410):
        raise NotThere(f"{url}: there is no such file")
    if answer.status != 200:
        raise RepositoryError(f"{url}: expected status 200, found {answer.status}")
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise RepositoryError(f"{url}: expected the file as it is, found it encoded as {encoding[:40]}")


def _read(url: str, answer: urllib3.BaseHTTPResponse, limit: int, ends: float) -> bytes:
    data = bytearray()
    while chunk := answer.read1(CHUNK):
        data += chunk
        if len(data) > limit:
            raise TooLong(f"{url}: expected at most {limit} bytes, found more")
        if time.monotonic() > ends:
            raise RepositoryError(f"{url}: expected the file in time, found the server still sending")
    return bytes(data)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urllib.parse.urlsplit(url)
    try:
        _ = parts.port
    except ValueError:
        raise Refused(f"{url[:200]}: expected a port that is a number")
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _reason(failure: Exception) -> str:
    inner = getattr(failure, "reason", None)
    return str(inner or failure)[:200]


# --- connections to public addresses only ----------------------------------------------------------------------------


def _connect_publicly(host: str, port: int, timeout: Any, make: Callable[..., socket.socket]) -> socket.socket:
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if not is_public(str(address[0])):
            raise Refused(
                f"{host}: expected a public address, or a host of [repositories] allowed_hosts, found {address[0]}"
            )
        try:
            return make((address[0], port), timeout)
        except OSError:
            continue
    raise RepositoryError(f"{host}: nothing answers at its addresses")


def is_public(address: str) -> bool:
    """Whether an IP address is the Internet's: not private, loopback, link-local, shared, multicast or reserved."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if parsed in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
    return parsed.is_global and not parsed.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class _GuardedConnection(urllib3.connection.HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect_publicly(self.host, self.port, self.timeout, socket.create_connection)


class _GuardedSecureConnection(urllib3.connection.HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect_publicly(self.host, self.port, self.timeout, socket.create_connection)


class _GuardedPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _GuardedConnection


class _GuardedSecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _GuardedSecureConnection
