"""Where the keys come from that seal what the database keeps secret: Castellan, over a file of keys or Barbican.

`configure(database, conf)` is called by every process before it serves: it fails when there is no key, or not the one
that the database was sealed with. `make(conf)` makes a key, `manager(conf)` is Castellan's key manager.
All processes of an installation need the same keys: docs/secrets.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg

from catalog.db import base, resealing, sealing

LOG = logging.getLogger(__name__)

KEY_FILE = "key_file"  # the value of [key_manager] backend that is ours, and the default
OPTIONS = (
    cfg.StrOpt(
        "key_file",
        default="/etc/chandlery/secrets.key",
        help="File with the keys that seal secrets in the database, made by `chandlery secrets new-key`; the same in "
        "all processes. A lost key is lost data.",
    ),
    cfg.ListOpt(
        "key_ids",
        default=[],
        help="With another [key_manager] backend than the file, as barbican: ids of the keys there. The first one "
        "seals, all of them open.",
    ),
)


def configure(database: base.Database, conf: cfg.ConfigOpts) -> None:
    """Gives the database the configured keys, and holds them against those it was sealed with.

    Raises `ValueError` naming the option, the file or the key. A database that does not answer, or has no tables yet,
    is not looked at: what does not open then fails by itself.
    """
    ring = ring_of(conf)
    sealing.use(database, ring)
    try:
        resealing.agree(database, ring)
    except sa.exc.SQLAlchemyError as failure:
        LOG.warning("the keys could not be held against the database: %s", str(failure).partition("\n")[0])
    except sealing.SealError as failure:
        raise ValueError(str(failure)) from None


def ring_of(conf: cfg.ConfigOpts) -> sealing.Ring:
    """The configured keys. Raises `ValueError` naming the option, the file or the key."""
    ours = is_file(conf)
    found = manager(conf)
    source = f"[secrets] key_file = {conf.secrets.key_file}" if ours else "[secrets] key_ids"
    fetch: Callable[[], Sequence[bytes]]
    if ours:

        def fetch() -> Sequence[bytes]:
            return [_bits(key, source) for key in _asked(lambda: found.list(None), source)]

    else:
        if not conf.secrets.key_ids:
            raise ValueError(
                f"[secrets] key_ids: expected ids of keys, found none; [key_manager] backend = "
                f"{conf.key_manager.backend} needs them. `chandlery secrets new-key` makes one"
            )
        context = credentials(conf)

        def fetch() -> Sequence[bytes]:
            return [_of_manager(found, context, each) for each in conf.secrets.key_ids]

    try:
        return sealing.Ring(fetch(), source, fetch if ours else None)
    except sealing.SealError as failure:
        raise ValueError(str(failure)) from None


def manager(conf: cfg.ConfigOpts) -> Any:
    """Castellan's key manager. Raises `ValueError` for a backend that does not load."""
    if is_file(conf):
        from catalog.db import key_file

        return key_file.KeyFile(conf)
    from castellan import key_manager

    try:
        return key_manager.API(conf)
    except Exception as failure:  # whatever a backend stumbles over
        raise ValueError(f"[key_manager] backend = {conf.key_manager.backend}: {failure}") from failure


def make(conf: cfg.ConfigOpts) -> str:
    """Makes a new key where keys are kept; its id there. In a file it comes first. Raises `ValueError`."""
    source = f"[secrets] key_file = {conf.secrets.key_file}" if is_file(conf) else "[key_manager]"
    context = credentials(conf)
    keeper = manager(conf)
    return str(_asked(lambda: keeper.create_key(context, "AES", sealing.KEY_BYTES * 8, name="chandlery"), source))


def is_file(conf: cfg.ConfigOpts) -> bool:
    """Whether keys come from the file, which is what [key_manager] backend says by default."""
    from castellan import key_manager  # 20 ms and 2 MiB; Barbican's client, when it is wanted, has 13 more

    conf.register_opts(OPTIONS, group="secrets")
    conf.register_opts(key_manager.key_manager_opts, group="key_manager")
    conf.set_default("backend", KEY_FILE, group="key_manager")
    return str(conf.key_manager.backend) == KEY_FILE


def credentials(conf: cfg.ConfigOpts) -> Any:
    """With which the key manager is asked: those of [key_manager] auth_type. None for the file, which needs none.

    Raises `ValueError`.
    """
    if is_file(conf):
        return None
    from castellan.common import exception, utils

    try:
        return utils.credential_factory(conf=conf)
    except exception.CastellanException as failure:
        raise ValueError(
            f"[key_manager] auth_type: expected credentials such as keystone_password: {failure}"
        ) from None


def _of_manager(found: Any, context: Any, key_id: str) -> bytes:
    source = f"[secrets] key_ids: {key_id}"
    return _bits(_asked(lambda: found.get(context, key_id), source), source)


def _asked(call: Callable[[], Any], source: str) -> Any:
    """What the key manager answers. Raises `ValueError`: without the keys no process can do anything."""
    try:
        return call()
    except FileNotFoundError:
        raise ValueError(
            f"{source}: expected the file with the keys that seal secrets in the database, found none. Copy it from "
            f"another process of this installation; for a new installation make it: chandlery secrets new-key"
        ) from None
    except OSError as failure:
        raise ValueError(f"{source}: the file with the keys can not be used: {failure.strerror}") from None
    except ValueError as failure:
        raise ValueError(f"{source}: {failure}") from None
    except Exception as failure:  # Castellan's, and those of the clients below it
        raise ValueError(f"{source}: the key manager does not give it: {failure}") from None


def _bits(key: Any, source: str) -> bytes:
    found = key.get_encoded()
    if not isinstance(found, bytes) or len(found) != sealing.KEY_BYTES:
        raise ValueError(f"{source}: expected a symmetric key of {sealing.KEY_BYTES * 8} bits, found another object")
    return found
