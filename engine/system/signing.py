"""The engine's public key, as agents get it in their boot data (spec/agent-protocol §4)."""

from __future__ import annotations

import logging
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

LOG = logging.getLogger(__name__)


def public_key(key_file: object, line_prefix: str = "") -> str:
    """PEM (PKCS#1) of the public half of the private key in `key_file`, each line after `line_prefix`.

    '' when nothing is configured or the file is not there: plans are then not signed. Raises ValueError for a file
    that holds no RSA key.
    """
    if not key_file:
        return ""
    path = Path(str(key_file)).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        LOG.warning("[engine] signing_key %s cannot be read, plans are not signed: %s", path, error.strerror)
        return ""
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"[engine] signing_key {path}: expected a PEM private key without passphrase; {error}")
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"[engine] signing_key {path}: expected an RSA key, found {type(key).__name__}")
    text = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)
        .decode("ascii")
        .strip()
    )
    return "\n".join(line_prefix + line for line in text.splitlines())
