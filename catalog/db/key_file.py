"""Castellan's key manager over a file of keys: the default, where no Barbican is configured.

The file has one key of 256 bits a line, in base64; the first one seals, all of them open. Lines that begin with # are
comments. Everybody's is refused; it is changed whole or not at all. Reached through `catalog.db.keys`; loaded
only then, because castellan takes its time.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import os
import pathlib
import secrets
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from castellan.common import exception
from castellan.common.objects import managed_object, symmetric_key
from castellan.key_manager import key_manager

from catalog.db import sealing

HEAD = """\
# Keys of Chandlery: the first one seals what the database keeps secret, all of them open it.
# Keep a copy in another place than the database's backups. What a lost key has sealed is lost. See docs/secrets.md.
"""
ALGORITHM = "AES"


class KeyFile(key_manager.KeyManager):
    """The keys of `[secrets] key_file`. Ids are those of `sealing.id_of`. Contexts are not looked at: whoever may read
    the file has the keys.
    """

    def __init__(self, configuration: Any) -> None:
        self.path = pathlib.Path(configuration.secrets.key_file)

    def create_key(
        self, context: Any, algorithm: str, length: int, expiration: str | None = None, name: str | None = None
    ) -> str:
        """Makes a key, and the file if there is none; the new key comes first. Gives its id."""
        if algorithm != ALGORITHM or length != sealing.KEY_BYTES * 8:
            raise ValueError(
                f"{self.path} has {ALGORITHM} keys of {sealing.KEY_BYTES * 8} bits, not {algorithm} {length}"
            )
        return self._add(secrets.token_bytes(sealing.KEY_BYTES))

    def store(self, context: Any, managed_object: managed_object.ManagedObject, expiration: str | None = None) -> str:
        """Puts a key that comes from elsewhere in the first place; gives its id."""
        key = managed_object.get_encoded()
        if not isinstance(key, bytes) or len(key) != sealing.KEY_BYTES:
            raise ValueError(f"{self.path}: expected a key of {sealing.KEY_BYTES * 8} bits")
        return self._add(key)

    def get(self, context: Any, managed_object_id: str, metadata_only: bool = False) -> managed_object.ManagedObject:
        """The key of this id. Raises `KeyError`."""
        return _managed(self._by_id()[managed_object_id], metadata_only)

    def list(
        self,
        context: Any,
        object_type: type[managed_object.ManagedObject] | None = None,
        metadata_only: bool = False,
    ) -> list[managed_object.ManagedObject]:
        """All keys, the one that seals first."""
        if object_type not in (None, symmetric_key.SymmetricKey):
            return []
        return [_managed(key, metadata_only) for key in self._read()]

    def delete(self, context: Any, managed_object_id: str, force: bool = False) -> None:
        """Removes a key. Raises `KeyError`, and `ValueError` for the last one."""
        with self._alone():
            keys = self._by_id()
            del keys[managed_object_id]
            if not keys:
                raise ValueError(f"{self.path}: the key {managed_object_id} is the last one and stays")
            self._write(tuple(keys.values()))

    def create_key_pair(
        self, context: Any, algorithm: str, length: int, *_more: Any, **_others: Any
    ) -> tuple[str, str]:
        """The file has keys to seal with; pairs are for others. Raises `KeyManagerError`, as what follows does."""
        raise exception.KeyManagerError(reason=f"{self.path} keeps no pairs of keys")

    def add_consumer(self, context: Any, managed_object_id: str, consumer_data: dict[str, str]) -> None:
        raise exception.KeyManagerError(reason=f"{self.path} keeps no consumers of keys")

    def remove_consumer(self, context: Any, managed_object_id: str, consumer_data: dict[str, str]) -> None:
        raise exception.KeyManagerError(reason=f"{self.path} keeps no consumers of keys")

    def _add(self, key: bytes) -> str:
        with self._alone():
            known = self._read() if self.path.exists() else ()
            self._write((key, *(other for other in known if other != key)))
        return sealing.id_of(key)

    def _by_id(self) -> dict[str, bytes]:
        return {sealing.id_of(key): key for key in self._read()}

    def _read(self) -> tuple[bytes, ...]:
        """Raises `OSError`, and `ValueError` for what is no file of keys, or one that others may read."""
        with open(self.path, encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o007:
                raise ValueError(f"expected a file that not everybody may use, found mode {mode:04o}: chmod 0600 it")
            lines = [(number, line.strip()) for number, line in enumerate(file, 1)]
        return tuple(_key(number, line) for number, line in lines if line and not line.startswith("#"))

    def _write(self, keys: Sequence[bytes]) -> None:
        """On the disk as a whole before it has its name: half a file of keys would be none."""
        draft = self.path.with_name(f".{self.path.name}.new")
        draft.unlink(missing_ok=True)
        mode, owner = 0o600, None
        if self.path.exists():
            kept = self.path.stat()
            mode, owner = stat.S_IMODE(kept.st_mode), (kept.st_uid, kept.st_gid)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(HEAD + "".join(f"{base64.b64encode(key).decode()}\n" for key in keys))
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), *owner)  # the service's own file, although root changes it
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two who add a key at the same time both do."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _key(number: int, line: str) -> bytes:
    try:
        key = base64.b64decode(line, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != sealing.KEY_BYTES:  # what is there instead may be half a key: it is not told
        raise ValueError(f"line {number}: expected {sealing.KEY_BYTES} bytes in base64, found something else")
    return key


def _managed(key: bytes, metadata_only: bool) -> managed_object.ManagedObject:
    return symmetric_key.SymmetricKey(ALGORITHM, len(key) * 8, None if metadata_only else key, id=sealing.id_of(key))
