"""Signatures of plans, and the public key that agents get in their boot data to check them (spec/agent-protocol §4)."""

from __future__ import annotations

import logging
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

LOG = logging.getLogger(__name__)


def public_key(key_file: object, line_prefix: str = "") -> str:
    """PEM (PKCS#1) of the public half of the private key in `key_file`, each line after `line_prefix`.

    '' when nothing is configured or the file is not there: plans are then not signed. Raises ValueError for a file
    that holds no RSA key.
    """
    key = _private_key(key_file)
    if key is None:
        return ""
    text = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)
        .decode("ascii")
        .strip()
    )
    return "\n".join(line_prefix + line for line in text.splitlines())


def signature(key_file: object, queue: str, body: str) -> bytes | None:
    """What a message with this body to this queue is signed with, None when plans are not signed. Raises ValueError."""
    key = _private_key(key_file)
    return None if key is None else key.sign((queue + body).encode(), padding.PKCS1v15(), hashes.SHA256())


def _private_key(key_file: object) -> rsa.RSAPrivateKey | None:
    if not key_file:
        return None
    path = Path(str(key_file)).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        LOG.warning("[engine] signing_key %s cannot be read, plans are not signed: %s", path, error.strerror)
        return None
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"[engine] signing_key {path}: expected a PEM private key without passphrase; {error}")
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"[engine] signing_key {path}: expected an RSA key, found {type(key).__name__}")
    return key
