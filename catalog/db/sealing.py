"""Values that may hold a tenant's secrets, sealed on their way into the database and opened on their way out.

`Json`, `Text` and `Bytes` are column types; each value gets an AES-256-GCM key of its own, derived from one of the
ring's. What is stored reads `sealed1:<id of the key>:<base64>`; the column's place, as "environments.model", is
authenticated with it, so that a value that was moved to another column does not open. What was stored in the clear is
read as it is. `use(database, ring)` gives a database its keys, `catalog.db.keys` finds them: docs/secrets.md.
"""

from __future__ import annotations

import binascii
import hmac
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from cryptography import exceptions
from cryptography.hazmat.primitives.ciphers import aead
from sqlalchemy.dialects import mysql

if TYPE_CHECKING:
    from catalog.db.base import Database

MARK = "sealed1:"  # no JSON text, and no digest, begins like that
KEY_BYTES = 32
SALT_BYTES = 16  # a key per value: however many values there are, no key seals two of them with one nonce
NONCE_BYTES = 12
LOOK_AGAIN_SECONDS = 5.0  # how often an unknown key is looked for


class SealError(sa.exc.DontWrapMixin, Exception):
    """A value can not be sealed or opened; the message says which column, which key, and what to do."""


class KeyMissing(SealError):
    """A value is sealed with a key that this process does not have. Nothing is lost: the key has to be put back."""


class Ring:
    """The keys of an installation: the first one seals, all of them open. Threads may share it.

    `source` names the option they come from, for messages. `again` finds the keys there are now: a key that another
    process has begun to use is looked for once, instead of failing until this process is started again.
    """

    def __init__(self, keys: Sequence[bytes], source: str, again: Callable[[], Sequence[bytes]] | None = None) -> None:
        self.source = source
        self._again = again
        self._looked = float("-inf")
        self._mutex = threading.Lock()
        self._keys = _by_id(keys, source)
        self.first = next(iter(self._keys))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys, the one that seals first."""
        return tuple(self._keys)

    def seal(self, data: bytes, place: str) -> str:
        """The text to store in this place."""
        head = f"{MARK}{self.first}:"
        fresh = os.urandom(SALT_BYTES + NONCE_BYTES)
        salt, nonce = fresh[:SALT_BYTES], fresh[SALT_BYTES:]
        sealed = _cipher(self._keys[self.first], salt).encrypt(nonce, data, f"{head}{place}".encode())
        return head + binascii.b2a_base64(fresh + sealed, newline=False).decode()

    def open(self, text: str, place: str) -> bytes:
        """What was sealed in this place. Raises `SealError`."""
        key_id, _, packed = text[len(MARK) :].partition(":")
        key = self._keys.get(key_id) or self._found(key_id)
        if key is None:
            raise KeyMissing(
                f"{place} is sealed with the key {key_id[:16]}; expected one of {self.source} "
                f"({', '.join(self._keys)}). Put that key back there: docs/secrets.md"
            )
        try:
            whole = binascii.a2b_base64(packed)
            salt, nonce = whole[:SALT_BYTES], whole[SALT_BYTES : SALT_BYTES + NONCE_BYTES]
            content = whole[SALT_BYTES + NONCE_BYTES :]
            return _cipher(key, salt).decrypt(nonce, content, f"{MARK}{key_id}:{place}".encode())
        except (binascii.Error, ValueError, exceptions.InvalidTag):
            raise SealError(
                f"{place}: a value does not open with its key {key_id}: it was changed, cut off, or moved there from "
                f"another column. Restore the row from a backup"
            ) from None

    def _found(self, key_id: str) -> bytes | None:
        with self._mutex:
            if self._again is not None and time.monotonic() - self._looked > LOOK_AGAIN_SECONDS:
                self._looked = time.monotonic()
                # what seals stays what it was: a process changes that with its next start, when all know the key
                self._keys = {**self._keys, **_by_id(self._again(), self.source)}
        return self._keys.get(key_id)


def id_of(key: bytes) -> str:
    """The name of a key in what it sealed: 16 hex digits that follow from the key and tell nothing of it."""
    return hmac.digest(key, b"chandlery: id of a key", "sha256")[:8].hex()


def is_sealed(stored: str | bytes) -> bool:
    """Whether a stored value is sealed, or in the clear as versions before sealed nothing."""
    return stored.startswith(MARK) if isinstance(stored, str) else stored.startswith(MARK.encode())


def use(database: Database | sa.Engine, ring: Ring) -> None:
    """Gives a database its keys. Without any, sealed columns can not be written, nor read where they are sealed."""
    engine = database if isinstance(database, sa.Engine) else database.engine
    _RINGS[engine.dialect] = ring


def ring_of(database: Database | sa.Engine) -> Ring | None:
    """The keys of a database, None before it has any."""
    return _RINGS.get((database if isinstance(database, sa.Engine) else database.engine).dialect)


class Sealed(sa.types.TypeDecorator[Any]):
    """A column whose values are sealed; `place` is its table and name. Python `None` is SQL NULL, which is told apart.

    Replace a value to change it: mutation in place is not noticed. Equal values are not equal in the database.
    """

    impl = sa.Text
    cache_ok = True

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.LONGTEXT())
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else _ring(dialect, self.place).seal(self.encode(value), self.place)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        if is_sealed(value):
            text = value if isinstance(value, str) else value.decode("ascii", "replace")
            value = _ring(dialect, self.place).open(text, self.place)
        return self.decode(value)

    def encode(self, value: Any) -> bytes:
        raise NotImplementedError

    def decode(self, stored: Any) -> Any:
        """`stored` is what was opened, or as a version before has stored it in the clear."""
        raise NotImplementedError


class Json(Sealed):
    """A JSON value, key order included (object models are shown as they were sent)."""

    cache_ok = True

    def encode(self, value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":")).encode()

    def decode(self, stored: str | bytes) -> Any:
        return json.loads(stored)


class Text(Sealed):
    """A text."""

    cache_ok = True

    def encode(self, value: str) -> bytes:
        return value.encode()

    def decode(self, stored: str | bytes) -> str:
        return stored if isinstance(stored, str) else stored.decode()


class Bytes(Sealed):
    """Bytes, in a column for bytes."""

    impl = sa.LargeBinary  # type: ignore[assignment]
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.LONGBLOB())
        return dialect.type_descriptor(sa.LargeBinary())

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        sealed = super().process_bind_param(value, dialect)
        return None if sealed is None else sealed.encode()

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, stored: bytes) -> bytes:
        return bytes(stored)


# A type is told of the dialect alone, and every engine has one of its own.
_RINGS: weakref.WeakKeyDictionary[sa.Dialect, Ring] = weakref.WeakKeyDictionary()


def _ring(dialect: sa.Dialect, place: str) -> Ring:
    ring = _RINGS.get(dialect)
    if ring is None:
        raise KeyMissing(
            f"{place}: expected the keys of this installation, found none: this process was not told of "
            f"[secrets] key_file. docs/secrets.md"
        )
    return ring


def _by_id(keys: Sequence[bytes], source: str) -> dict[str, bytes]:
    for key in keys:
        if len(key) != KEY_BYTES:
            raise SealError(f"{source}: expected keys of {KEY_BYTES * 8} bits, found one of {len(key) * 8}")
    if not keys:
        raise SealError(f"{source}: expected at least one key, found none")
    return {id_of(key): key for key in keys}


def _cipher(key: bytes, salt: bytes) -> aead.AESGCM:
    return aead.AESGCM(hmac.digest(key, b"chandlery: key of a value" + salt, "sha256"))
