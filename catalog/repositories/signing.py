"""Signing a built repository with The Update Framework: keys, and the metadata that clients verify.

`make_keys(folder)` once, `sign(root, keys)` after every build and before the signatures run out. Metadata are in
`metadata/`, under the names of TUF's specification with consistent snapshots; the files of the repository stay where
they are. Verifying is in `catalog.repositories.signed`.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from securesystemslib.signer import CryptoSigner
from tuf.api import exceptions
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from catalog.repositories import layout

FOLDER = "metadata"
ROLES: Mapping[str, int] = {"root": 365, "targets": 90, "snapshot": 30, "timestamp": 7}  # days signatures are valid
NEXT_ROOT = "root-next"  # the key that is to take the place of the root's
KEPT = 2  # versions of snapshot and targets that stay, for who is just reading
SERIALIZER = JSONSerializer(compact=False)
Part = TypeVar("Part", bound=Signed)


class SigningError(Exception):
    """A repository that can not be signed; the message says what is missing and what to do."""


def make_keys(folder: Path, password: bytes | None = None) -> dict[str, str]:
    """Makes a key for each role that has none yet, as `<role>.pem` in the folder: {role: id of its key}."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for role in ROLES:
        path = folder / f"{role}.pem"
        if path.exists():
            continue
        how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        data = ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how
        )
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    return {role: _load(folder / f"{role}.pem", password).public_key.keyid for role in ROLES}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keys:
    """The signers of a folder of keys. The root's may be kept elsewhere, except when the root is signed anew."""

    folder: Path
    signers: Mapping[str, CryptoSigner]

    @classmethod
    def of(cls, folder: Path, password: bytes | None = None) -> Keys:
        """Raises `SigningError` without the keys of targets, snapshot and timestamp."""
        found = {
            role: _load(folder / f"{role}.pem", password)
            for role in (*ROLES, NEXT_ROOT)
            if (folder / f"{role}.pem").exists()
        }
        missing = [f"{role}.pem" for role in ROLES if role not in found and role != "root"]
        if missing:
            raise SigningError(
                f"{folder}: expected {', '.join(missing)}. Make keys first: chandlery repository key {folder}"
            )
        return cls(folder=folder, signers=found)


def sign(
    root: Path,
    keys: Keys,
    *,
    now: datetime.datetime | None = None,
    days: Mapping[str, int] | None = None,
) -> list[str]:
    """Brings the metadata of a built repository up to date: the paths that were written.

    What is the same and has more than half of its time left stays as it is, byte for byte. A root is signed by the
    keys of the one before, too, so that clients that trust that one follow. Raises `SigningError`.
    """
    moment = (now or datetime.datetime.now(datetime.UTC)).astimezone(datetime.UTC).replace(microsecond=0)
    return _Work(root, keys, moment, {**ROLES, **(days or {})}).run()


class _Work:
    """One signing. Metadata are made from the root down, and written in that order: the timestamp makes them valid."""

    def __init__(self, root: Path, keys: Keys, now: datetime.datetime, days: Mapping[str, int]) -> None:
        self._root = root
        self._keys = keys
        self._now = now
        self._days = days
        self._written: list[str] = []

    def run(self) -> list[str]:
        if not (self._root / layout.INDEX).is_file():
            raise SigningError(f"{self._root}: expected a built repository with {layout.INDEX}, found none")
        trusted = self._sign_root()
        targets = self._sign(trusted, Targets(targets=self._targets()))
        listed = {"targets.json": MetaFile(version=targets.version)}
        snapshot = self._sign(trusted, Snapshot(meta=listed))
        self._sign(trusted, Timestamp(snapshot_meta=MetaFile(version=snapshot.version)))
        self._remove_old(targets.version, snapshot.version)
        return self._written

    def _targets(self) -> dict[str, TargetFile]:
        paths = [self._root / layout.INDEX, *(self._root / "apps").glob("*.zip")]
        paths += (self._root / "bundles").glob("*.bundle")
        names = sorted(path.relative_to(self._root).as_posix() for path in paths)
        return {name: TargetFile.from_file(name, str(self._root / name), ["sha256"]) for name in names}

    def _sign_root(self) -> Root:
        present = self._newest_root()
        signers = self._keys.signers
        wanted = {role: signers[role].public_key for role in ROLES if role in signers}
        if NEXT_ROOT in signers:
            wanted["root"] = signers[NEXT_ROOT].public_key
        if present is not None and self._is_fresh(present.signed):
            unchanged = all(present.signed.roles[role].keyids == [key.keyid] for role, key in wanted.items())
            if unchanged:
                return present.signed
        if "root" not in signers:
            raise SigningError(
                f"{self._keys.folder}: expected root.pem: the root is new, its keys changed, or it runs out soon"
            )
        root = Root(version=1 if present is None else present.signed.version + 1, expires=self._expiry("root"))
        for role, key in wanted.items():
            root.add_key(key, role)
        signing = [signers["root"], *([signers[NEXT_ROOT]] if NEXT_ROOT in signers else [])]
        self._refuse_foreign(present, root, signing)
        data = self._put(root, f"{root.version}.root.json", signing)
        self._write("root.json", data)
        return root

    def _refuse_foreign(self, present: Metadata[Root] | None, root: Root, signing: Iterable[CryptoSigner]) -> None:
        """No client would follow a root that the one before has not signed."""
        known = set() if present is None else set(present.signed.roles["root"].keyids)
        if present is not None and not known & {signer.public_key.keyid for signer in signing}:
            raise SigningError(
                f"{self._keys.folder}/root.pem: expected the root key this repository was signed with "
                f"({', '.join(sorted(known))[:80]}), found another. To replace it, leave it where it is, and put the "
                f"new one beside it as {NEXT_ROOT}.pem; when that root is published, the new one takes its name."
            )

    def _newest_root(self) -> Metadata[Root] | None:
        path = self._root / FOLDER / "root.json"
        return self._read(path) if path.exists() else None

    def _sign(self, root: Root, part: Part) -> Part:
        """Signs a part anew if it says something else than the one that is there, or if that one runs out soon."""
        role = part.type
        present = self._present(role)
        key = root.roles[role].keyids
        if present is not None:
            part.version = present.signed.version
            part.expires = present.signed.expires
            try:
                root.verify_delegate(role, present.signed_bytes, present.signatures)
                if part == present.signed and self._is_fresh(present.signed):
                    return part
            except exceptions.UnsignedMetadataError:
                pass  # the key was replaced
            part.version += 1
        part.expires = self._expiry(role)
        signer = self._keys.signers[role]
        assert signer.public_key.keyid in key
        self._put(part, "timestamp.json" if role == "timestamp" else f"{part.version}.{role}.json", [signer])
        return part

    def _present(self, role: str) -> Metadata[Any] | None:
        folder = self._root / FOLDER
        if role == "timestamp":
            paths = [folder / "timestamp.json"] if (folder / "timestamp.json").exists() else []
        else:
            paths = sorted(folder.glob(f"*.{role}.json"), key=_version_of)
        return self._read(paths[-1]) if paths else None

    def _is_fresh(self, signed: Signed) -> bool:
        left = signed.expires.astimezone(datetime.UTC) - self._now
        return left > datetime.timedelta(days=self._days[signed.type]) / 2

    def _expiry(self, role: str) -> datetime.datetime:
        return self._now + datetime.timedelta(days=self._days[role])

    def _read(self, path: Path) -> Metadata[Any]:
        try:
            return Metadata.from_file(str(path))
        except Exception as failure:  # what the library makes of a broken file
            raise SigningError(f"{path}: expected TUF metadata: {failure}. Restore it from the last publication.")

    def _put(self, signed: Signed, name: str, signers: Iterable[CryptoSigner]) -> bytes:
        made: Metadata[Any] = Metadata(signed)
        for signer in signers:
            made.sign(signer, append=True)
        data = made.to_bytes(SERIALIZER)
        self._write(name, data)
        return data

    def _write(self, name: str, data: bytes) -> None:
        layout.write_file(self._root / FOLDER / name, data)
        self._written.append(f"{FOLDER}/{name}")

    def _remove_old(self, targets: int, snapshot: int) -> None:
        for role, version in (("targets", targets), ("snapshot", snapshot)):
            for path in (self._root / FOLDER).glob(f"*.{role}.json"):
                if _version_of(path) <= version - KEPT:
                    path.unlink()


def _version_of(path: Path) -> int:
    text = path.name.partition(".")[0]
    return int(text) if text.isdigit() else 0


def _load(path: Path, password: bytes | None) -> CryptoSigner:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as failure:
        raise SigningError(f"{path}: expected a private key in PEM, and its password if it has one: {failure}")
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise SigningError(f"{path}: expected an Ed25519 key, as `chandlery repository key` makes it")
    return CryptoSigner(key)
