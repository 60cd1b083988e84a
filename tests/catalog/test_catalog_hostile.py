"""Bad input, one by one: whatever is sent or fetched, the answer is a 4xx with a reason, and nothing is stored.

A broken archive comes the three ways an archive can come: as an upload, as a file to import, and from a repository
(there the repository is at fault: a 502). Memory stays within what the limits allow.
"""

from __future__ import annotations

import contextlib
import io
import json
import stat
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_cloud import Cloud, multipart, package_files, zipped
from catalog_sources import Web

from catalog.db.base import Base
from catalog.repositories.layout import archive_path

NAME = "org.bad.App"
MEMORY = 160 << 20  # bytes at most while one request is answered; the limits add up to less
EMPTY = ("packages", "contents", "environments", "environment_templates", "idempotency_keys")


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()
    yield made
    made.close()


@pytest.fixture
def overrides(web: Web) -> dict[str, dict[str, Any]]:
    return {
        "repositories": {"repository": [f"web={web.url}"], "refresh": 0, "index_limit": 1, "timeout": 30},
        "packages": {"size_limit": 24},
    }


@contextlib.contextmanager
def weighing(really: bool) -> Iterator[Callable[[], int]]:
    """Tells the most bytes that were held at once."""
    found = [0]
    if really:
        tracemalloc.start()
    try:
        yield lambda: found[0]
    finally:
        if really:
            found[0] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()


def nothing_is_stored(cloud: Cloud) -> None:
    with cloud.database.reading() as session:
        for name in EMPTY:
            count = session.scalar(sa.select(sa.func.count()).select_from(Base.metadata.tables[name]))
            assert count == 0, name


# --- archives --------------------------------------------------------------------------------------------------------


def made(change: Callable[[zipfile.ZipFile], None], **files: bytes) -> bytes:
    """The archive of a sound package with something else in it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of zipfile, which sees what is wrong with it
        for name, data in {**package_files(NAME), **files}.items():
            archive.writestr(name, data)
        change(archive)
    return buffer.getvalue()


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def bomb() -> bytes:
    return made(lambda archive: archive.writestr("Resources/zeros", b"\0" * (8 << 20)))


def overlapping() -> bytes:
    """Many files that all are the same bytes of the archive, as in the smallest known bombs."""

    def overlap(archive: zipfile.ZipFile) -> None:
        archive.writestr("Resources/0", b"\0" * (1000 << 10))
        first = archive.getinfo("Resources/0")
        for number in range(1, 100):
            again = zipfile.ZipInfo(f"Resources/{number}")
            for field in ("header_offset", "CRC", "compress_size", "file_size", "compress_type", "create_version"):
                setattr(again, field, getattr(first, field))
            archive.filelist.append(again)

    return made(overlap)


def lying_size() -> bytes:
    """A file that is longer than the archive says."""
    data = bytearray(made(lambda archive: archive.writestr("logo.png", b"\0" * (4 << 20))))
    place = data.rindex(b"PK\x01\x02", 0, data.rindex(b"logo.png"))
    struct.pack_into("<L", data, place + 24, 100)
    return bytes(data)


def many_files() -> bytes:
    """A list of files that all are the same one; made by hand, as `zipfile` would take long for so many."""
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"x"
    listed = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0) + b"%05x" % number
        for number in range(100_000)
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65534, 65534, len(listed), len(local), 0)
    return local + listed + end


def encrypted() -> bytes:
    data = bytearray(made(lambda archive: None))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def manifest(text: bytes) -> bytes:
    return zipped({**package_files(NAME), "manifest.yaml": text})


def laughs() -> bytes:
    """A YAML of a kilobyte that stands for a billion words."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return manifest(("\n".join(lines) + "\nFullName: *a9\n").encode())


def png(width: int, height: int) -> bytes:
    """The head of a picture that says it is this large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    header = struct.pack(">LLBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def logo(data: bytes) -> bytes:
    return zipped({**package_files(NAME), "logo.png": data})


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>'
ARCHIVES: list[tuple[str, Callable[[], bytes], str]] = [
    ("a zip bomb", bomb, "Resources/zeros"),
    ("files that overlap", overlapping, "too large"),
    ("a file longer than it says", lying_size, "logo.png"),
    ("a hundred thousand files", many_files, "too many entries"),
    ("a way up", lambda: made(lambda z: z.writestr("../../etc/cron.d/x", b"")), "leaves the package"),
    ("a way up inside", lambda: made(lambda z: z.writestr("Classes/../../x", b"")), "leaves the package"),
    ("an absolute path", lambda: made(lambda z: z.writestr(entry("/etc/passwd"), b"")), "absolute"),
    ("a path of Windows", lambda: made(lambda z: z.writestr(entry("C:\\x"), b"")), "C:"),
    ("a link", lambda: made(lambda z: z.writestr(entry("x", stat.S_IFLNK | 0o777), b"/etc/passwd")), "symbolic link"),
    ("a device", lambda: made(lambda z: z.writestr(entry("x", stat.S_IFCHR | 0o666), b"")), "special file"),
    ("a name twice", lambda: made(lambda z: z.writestr("manifest.yaml", b"FullName: x.Y")), "twice"),
    ("a file as a folder", lambda: made(lambda z: z.writestr("manifest.yaml/x", b"")), "a file and a folder"),
    ("a long name", lambda: made(lambda z: z.writestr("x" * 600, b"")), "too long"),
    ("a control character", lambda: made(lambda z: z.writestr("a\nb", b"")), "control character"),
    ("a password", encrypted, "encrypted"),
    ("another compression", lambda: made(lambda z: z.writestr("x", b"x" * 99, zipfile.ZIP_BZIP2)), "compression"),
    ("no archive", lambda: b"PK\x03\x04 but not much else", "zip"),
    ("a manifest of other bytes", lambda: manifest(b"\xff\xfe\x00F"), "manifest.yaml"),
    ("a manifest without end", lambda: manifest(b"[" * 100_000), "manifest.yaml"),
    ("a manifest of a billion words", laughs, "manifest.yaml"),
    (
        "a manifest that makes objects",
        lambda: manifest(b"FullName: !!python/object/apply:os.system [id]"),
        "manifest.yaml",
    ),
    ("a logo that is SVG", lambda: logo(SVG), "logo"),
    ("a logo that is a page", lambda: logo(b"<html><script>alert(1)</script></html>"), "logo"),
    ("a logo of millions of pixels", lambda: logo(png(60_000, 60_000)), "logo"),
    ("a logo that is cut off", lambda: logo(png(64, 64)[:60]), "logo"),
    ("a logo that is too long", lambda: logo(png(64, 64) + b"x" * (600 << 10)), "logo"),
]


def served(web: Web, archive: bytes) -> None:
    """Offers an archive in the original's layout, and says in an index that it is sound."""
    web.serve(f"/{archive_path(NAME)}", archive)


@pytest.mark.parametrize(("make", "said"), [pytest.param(make, said, id=name) for name, make, said in ARCHIVES])
def test_a_hostile_archive_is_refused_however_it_comes(cloud: Cloud, web: Web, make: Any, said: str) -> None:
    archive = make()
    weighed = len(archive) > 1 << 20 or make in (overlapping, bomb, laughs)  # weighing makes everything slower
    body, kind = multipart([("file", ("p.zip", archive))])
    served(web, archive)
    for path, sent, status in (
        ("/v1/catalog/packages", {"raw": body, "Content_Type": kind}, 400),
        ("/v1/catalog/imports/file", {"raw": body, "Content_Type": kind}, 400),
        ("/v1/catalog/imports", {"body": {"name": NAME}}, 502),
    ):
        with weighing(weighed and path != "/v1/catalog/imports") as peak:
            answer = cloud.member("POST", path, Accept="application/json", status=None, **sent)
        assert answer.status_int == status, f"{path}: {answer.text[:500]}"
        assert said in answer.json["message"], f"{path}: {answer.json['message'][:500]}"
        assert peak() < MEMORY, f"{path}: {peak() >> 20} MiB"
    nothing_is_stored(cloud)


# --- requests --------------------------------------------------------------------------------------------------------

JSON = "application/json"
LONG = "x" * 100_000
PART = "multipart/form-data; boundary=b"
REQUESTS: list[tuple[str, str, bytes, str, int]] = [
    ("POST", "/v1/catalog/packages", b"", PART, 400),
    ("POST", "/v1/catalog/packages", b"no multipart at all", PART, 400),
    ("POST", "/v1/catalog/packages", b"--b\r\nContent-Disposition: form-data; name=f\r\n\r\nx", PART, 400),
    ("POST", "/v1/catalog/packages", b"--b\r\n\r\nx\r\n--b--\r\n", PART, 400),
    ("POST", "/v1/catalog/packages", b"--b--\r\n", "multipart/form-data", 400),
    ("POST", "/v1/catalog/packages", b"{}", JSON, 400),
    ("POST", "/v1/catalog/packages", b"--b\r\n" * 1000, PART, 400),
    ("POST", "/v1/catalog/imports/file", b"no multipart at all", PART, 400),
    ("POST", "/v1/catalog/imports/file", b"{}", JSON, 400),
    ("POST", "/v1/catalog/imports", b"{", JSON, 400),
    ("POST", "/v1/catalog/imports", b'{"name": "\xff"}', JSON, 400),
    ("POST", "/v1/catalog/imports", json.dumps({"name": LONG}).encode(), JSON, 400),
    ("POST", "/v1/catalog/imports", json.dumps({"url": "http://x/" + LONG}).encode(), JSON, 400),
    ("POST", "/v1/catalog/imports", json.dumps({"name": "a.B", "version": LONG}).encode(), JSON, 400),
    ("POST", "/v1/catalog/imports", json.dumps({"name": "a.B", "categories": [LONG]}).encode(), JSON, 400),
    ("POST", "/v1/catalog/imports", json.dumps({"name": "a.B", LONG: 1}).encode(), JSON, 400),
    ("POST", "/v1/catalog/imports", json.dumps({"packages": [{"name": "a.B"}] * 10_000}).encode(), JSON, 400),
    ("POST", "/v1/environments", json.dumps({"name": LONG}).encode(), JSON, 400),
    ("POST", "/v1/environments", b"[" * 1_000_000, JSON, 400),
    ("POST", "/v1/environments", b" " * (5 << 20), JSON, 413),
    ("POST", "/v1/templates", json.dumps({"name": LONG}).encode(), JSON, 400),
    ("POST", "/v1/catalog/categories", json.dumps({"name": LONG}).encode(), JSON, 400),
    ("GET", f"/v1/catalog/packages/{LONG}", b"", "", 404),
    ("GET", f"/v1/catalog/packages?limit={'9' * 5000}", b"", "", 200),
    ("GET", "/v1/catalog/packages?marker=%00", b"", "", 400),
    ("GET", "/v1/environments/%ff", b"", "", 400),
]


@pytest.mark.parametrize(("method", "path", "body", "kind", "status"), REQUESTS)
def test_a_hostile_request_is_refused(
    cloud: Cloud, method: str, path: str, body: bytes, kind: str, status: int
) -> None:
    caller = cloud.admin if "categories" in path else cloud.member
    with weighing(len(body) > 1 << 20) as peak:
        answer = caller(method, path, raw=body, Content_Type=kind or None, Accept="application/json", status=None)
    assert answer.status_int == status, answer.text[:500]
    assert status == 200 or answer.json["message"]
    assert len(answer.body) < 250_000, "an answer does not repeat everything that was sent"
    assert peak() < MEMORY
    nothing_is_stored(cloud)


# --- repositories ----------------------------------------------------------------------------------------------------


def index(**changes: Any) -> bytes:
    entry_ = {
        "fqn": NAME,
        "version": "0.1.0",
        "archive": "apps/org.bad.App.0.1.0.zip",
        "sha256": "0" * 64,
        "digest": "0" * 64,
        **changes,
    }
    return json.dumps({"format": 1, "packages": [entry_]}).encode()


INDEXES: list[tuple[str, bytes, str]] = [
    ("without end", b"[" * (1 << 19), "index.json"),
    ("longer than it may be", b" " * (2 << 20), "at most"),
    ("of other bytes", b"\xff\xfe", "UTF-8"),
    ("with a path out of it", index(archive="../../etc/passwd"), "archive"),
    ("with a URL as path", index(archive="http://169.254.169.254/"), "archive"),
    ("with a name that is none", index(fqn="<script>"), "fqn"),
    ("with a long name", index(fqn="x" * 500), "fqn"),
    ("with a version that is none", index(version="x" * 500), "version"),
    ("with ranges that are none", index(require={NAME: "x"}), "requirements"),
    ("with a digest that is none", index(sha256="z"), "sha256"),
    ("with a digest that is another's", index(), "SHA-256"),
    ("with a long text", index(description="x" * 200_000), "description"),
]


@pytest.mark.parametrize(("data", "said"), [pytest.param(data, said, id=name) for name, data, said in INDEXES])
def test_a_repository_with_a_hostile_index_is_refused_with_the_reason(
    cloud: Cloud, web: Web, core: None, data: bytes, said: str
) -> None:
    web.serve("/index.json", data)
    web.serve("/apps/org.bad.App.0.1.0.zip", zipped(package_files(NAME)))
    answer = cloud.member("POST", "/v1/catalog/imports", {"name": NAME}, Accept="application/json", status=502)
    assert said in answer.json["message"]
    with cloud.database.reading() as session:
        mine = Base.metadata.tables["packages"].c.owner_id == cloud.member.project_id
        assert session.scalar(sa.select(sa.func.count()).where(mine)) == 0


def test_a_repository_never_makes_the_service_ask_inside(cloud: Cloud, web: Web, tmp_path: Path) -> None:
    """Redirects to this machine, the cloud's metadata and private networks: by address, by name, by other spellings."""
    inside = Web()
    inside.serve("/", b"secret")
    port = inside.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1"):
        web.redirect("/index.json", f"http://{host}:{port}/")
        message = cloud.member(
            "POST", "/v1/catalog/imports", {"name": NAME}, Accept="application/json", status=502
        ).json["message"]
        assert "secret" not in message
    web.redirect("/index.json", "http://169.254.169.254/latest/meta-data/")
    said = cloud.member("POST", "/v1/catalog/imports", {"name": NAME}, Accept="application/json", status=502)
    assert "expected a public address" in said.json["message"]
    assert inside.asked == []
    inside.close()
    nothing_is_stored(cloud)
