"""The stores beside the database: a folder, and a bucket of an S3-compatible service; and which one is configured.

`configure(database, conf)` reads the options of `[packages]`. All processes of an installation need the same ones:
the API writes, the engine reads.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from oslo_config import cfg

from catalog.db import base, contents
from catalog.db.contents import Store, Stores, Unreachable

OPTIONS = (
    cfg.StrOpt(
        "store",
        default=contents.DATABASE,
        choices=[
            ("database", "The service's database"),
            ("filesystem", "The folder store_directory, which all processes share"),
            ("s3", "The bucket s3_bucket of an S3-compatible object store; needs the extra `s3` (boto3)"),
        ],
        help="Where new archives and logos are kept. Those kept elsewhere before stay readable, as long as that "
        "store's options stay; `chandlery package store migrate` moves them.",
    ),
    cfg.StrOpt("store_directory", help="Folder of the store `filesystem`, made if it is missing."),
    cfg.StrOpt("s3_bucket", help="Bucket of the store `s3`, which has to exist."),
    cfg.StrOpt("s3_prefix", default="chandlery/", help="What the names of its objects begin with."),
    cfg.URIOpt("s3_endpoint", help="URL of the object store. By default Amazon's."),
    cfg.StrOpt("s3_region", help="Region of the bucket."),
    cfg.StrOpt("s3_access_key", secret=True, help="Access key. By default boto3's search: environment, role, file."),
    cfg.StrOpt("s3_secret_key", secret=True, help="Secret key that belongs to it."),
    cfg.FloatOpt("s3_timeout", default=20.0, min=0.1, help="Seconds the object store may take to connect or answer."),
)


def configure(database: base.Database, conf: cfg.ConfigOpts) -> None:
    """Gives the database the configured stores. Raises `ValueError` for options that are missing or do not work."""
    conf.register_opts(OPTIONS, group="packages")
    options = conf.packages
    found: dict[str, Store] = {contents.DATABASE: contents.InDatabase()}
    if options.store_directory:
        found["filesystem"] = Filesystem(options.store_directory)
    if options.s3_bucket:
        found["s3"] = S3.of(options)
    if options.store not in found:
        needed = "store_directory" if options.store == "filesystem" else "s3_bucket"
        raise ValueError(f"[packages] store = {options.store}: expected the option {needed} beside it, found none")
    contents.use(database, Stores(found[options.store], tuple(found.values())))


class Filesystem:
    """A folder: `ab/abcd...` for the content of the digest abcd..., readable by the service's user alone.

    A file appears under its name only whole and written to the disk.
    """

    name = "filesystem"

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._root = pathlib.Path(directory)
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as failure:
            raise ValueError(f"[packages] store_directory = {directory}: expected a folder to write to: {failure}")

    def inline(self, data: bytes) -> bytes:
        return b""

    def put(self, digest: str, data: bytes) -> None:
        path = self._path(digest)
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")  # with mode 0600
            try:
                with open(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            for folder in (path.parent, self._root):
                _sync(folder)
        except OSError as failure:
            raise Unreachable(f"The store {path.parent} cannot be written: {failure}")

    def get(self, digest: str, inline: bytes) -> bytes | None:
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as failure:
            raise Unreachable(f"The store {self._root} cannot be read: {failure}")

    def delete(self, digest: str) -> None:
        try:
            self._path(digest).unlink(missing_ok=True)
        except OSError as failure:
            raise Unreachable(f"The store {self._root} cannot be written: {failure}")

    def listed(self) -> Iterator[tuple[str, float]]:
        """Unfinished files of a killed process go on the way once they are old."""
        now = time.time()
        for path in sorted(self._root.glob("*/*")):
            with contextlib.suppress(FileNotFoundError):
                age = now - path.stat().st_mtime
                if not path.name.startswith("."):
                    yield path.name, age
                elif age > contents.GRACE:
                    path.unlink()

    def _path(self, digest: str) -> pathlib.Path:
        return self._root / digest[:2] / digest


class S3:
    """A bucket: one object per content, named after its digest."""

    name = "s3"

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def of(cls, options: Any) -> S3:
        """As the options of `[packages]` say. Raises `ValueError` without boto3."""
        try:
            import boto3  # an extra of the distribution
            from botocore.config import Config
        except ImportError:
            raise ValueError("[packages] s3_bucket: expected the package boto3, found none. Install chandlery[s3].")
        settings = Config(
            connect_timeout=options.s3_timeout,
            read_timeout=options.s3_timeout,
            retries={"max_attempts": 3, "mode": "standard"},
            # what S3-compatible services of others do not all understand is left out
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=options.s3_endpoint,
            region_name=options.s3_region,
            aws_access_key_id=options.s3_access_key,
            aws_secret_access_key=options.s3_secret_key,
            config=settings,
        )
        return cls(client, options.s3_bucket, options.s3_prefix)

    def inline(self, data: bytes) -> bytes:
        return b""

    def put(self, digest: str, data: bytes) -> None:
        with self._answering():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + digest, Body=data)

    def get(self, digest: str, inline: bytes) -> bytes | None:
        with self._answering():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + digest)
            except self._client.exceptions.NoSuchKey:
                return None
            data: bytes = answer["Body"].read()
            return data

    def delete(self, digest: str) -> None:
        with self._answering():
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + digest)

    def listed(self) -> Iterator[tuple[str, float]]:
        now = time.time()
        with self._answering():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                for each in page.get("Contents", ()):
                    yield each["Key"].removeprefix(self._prefix), now - each["LastModified"].timestamp()

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        from botocore import exceptions

        try:
            yield
        except (exceptions.BotoCoreError, exceptions.ClientError) as failure:
            raise Unreachable(f"The object store (bucket {self._bucket}) does not do it: {failure}")


def _sync(folder: pathlib.Path) -> None:
    """Makes sure that the folder itself, with its new names, is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
