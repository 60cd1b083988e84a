"""Boot data (what cloud-init gets as user data) as a list of steps that the init process of a server carries out.

The order is cloud-init's: bootcmd, write_files, then scripts by name, among them `runcmd` as the script of that name.
What a sandbox cannot do (packages, users, disks) becomes a line on the console instead of silence.
"""

from __future__ import annotations

import base64
import binascii
import email
import email.message
import email.policy
import gzip
import shlex
import zlib
from dataclasses import dataclass, field
from typing import Any

import yaml

Step = dict[str, Any]
MAX_DECOMPRESSED = 32 * 1024 * 1024

# Said by other means, or without a meaning in a sandbox.
_IGNORED = {"hostname", "fqdn", "manage_etc_hosts", "preserve_hostname", "merge_how", "merge_type", "output"}


@dataclass
class _Plan:
    boot: list[Step] = field(default_factory=list)
    files: list[Step] = field(default_factory=list)
    late_files: list[Step] = field(default_factory=list)
    notes: list[Step] = field(default_factory=list)
    commands: list[Any] = field(default_factory=list)
    scripts: list[tuple[str, bytes]] = field(default_factory=list)
    hostname: str | None = None

    def note(self, text: str) -> None:
        self.notes.append({"kind": "note", "text": text})


def plan(user_data: str | bytes | None) -> tuple[list[Step], str | None]:
    """(steps, host name or None). A part that cannot be read becomes a note: a real server would boot as well."""
    result = _Plan()
    content = user_data.encode() if isinstance(user_data, str) else user_data or b""
    if content.strip():
        _part(content, "", "", result)
    scripts = list(result.scripts)
    if result.commands:
        scripts.append(("runcmd", _shell_script(result.commands)))
    steps = [*result.notes, *result.boot, *result.files]
    steps += [_script(name, body) for name, body in sorted(scripts, key=lambda script: script[0])]
    return [*steps, *result.late_files], result.hostname


def _part(content: bytes, kind: str, name: str, result: _Plan) -> None:
    if content.startswith(b"\x1f\x8b"):
        try:
            content = _decompress(content)
        except (OSError, zlib.error) as error:
            result.note(f"boot data part {name or kind or 'user data'}: {error}; it was left out")
            return
    start = content.lstrip()[:64]
    head = start.lower()
    if kind.startswith("multipart/") or head.startswith((b"content-type: multipart", b"mime-version:", b"from nobody")):
        message = email.message_from_bytes(content.lstrip(), policy=email.policy.default)
        _walk(message, result)
    elif start.startswith(b"#cloud-config-archive"):
        _archive(content, result)
    elif start.startswith(b"#cloud-config") or kind == "text/cloud-config":
        _cloud_config(content, result)
    elif start.startswith(b"#cloud-boothook") or kind == "text/cloud-boothook":
        result.boot.append(_script(name or "boothook", content.replace(b"#cloud-boothook", b"#!/bin/sh", 1)))
    elif start.startswith(b"#!") or kind == "text/x-shellscript":
        result.scripts.append((name or f"part-{len(result.scripts) + 1:03d}", content.lstrip()))
    elif kind == "text/x-cfninitdata":
        path = f"/var/lib/heat-cfntools/{name or 'cfn-init-data'}"
        result.files.append({"kind": "write", "path": path, "content": _encode(content), "mode": 0o700})
    else:
        told = kind or repr(start[:24].decode(errors="replace"))
        result.note(f"boot data part {name or told}: a lab server carries out no parts of kind {told}")


def _walk(message: email.message.Message, result: _Plan) -> None:
    for part in message.walk():
        if part.is_multipart():
            continue
        payload = part.get_payload(decode=True)
        content = payload if isinstance(payload, bytes) else b""
        kind = part.get_content_type()
        kind = "" if kind in ("text/plain", "application/octet-stream") else kind
        _part(content, kind, part.get_filename() or "", result)


def _archive(content: bytes, result: _Plan) -> None:
    try:
        entries = yaml.safe_load(content)
    except yaml.YAMLError as error:
        result.note(f"cloud-config archive is not YAML: {' '.join(str(error).split())}")
        return
    for entry in entries if isinstance(entries, list) else []:
        item = {"content": entry} if isinstance(entry, str) else entry if isinstance(entry, dict) else {}
        body = str(item.get("content", "")).encode()
        _part(body, str(item.get("type", "")), str(item.get("filename", "")), result)


def _cloud_config(content: bytes, result: _Plan) -> None:
    try:
        config = yaml.safe_load(content)
    except yaml.YAMLError as error:
        result.note(f"cloud-config is not YAML and was left out: {' '.join(str(error).split())}")
        return
    if config is None:
        return
    if not isinstance(config, dict):
        result.note(f"cloud-config: expected a map, found {type(config).__name__}; it was left out")
        return
    name = config.get("hostname") or config.get("fqdn")
    if isinstance(name, str):
        result.hostname = name.split(".")[0]
    for command in _items(config, "bootcmd", result):
        argv = [str(word) for word in command] if isinstance(command, list) else ["/bin/sh", "-c", str(command)]
        result.boot.append({"kind": "run", "argv": argv})
    for entry in _items(config, "write_files", result):
        _write_file(entry, result)
    result.commands += _items(config, "runcmd", result)
    packages = _items(config, "packages", result)
    if packages:
        names = ", ".join(shlex.join(item) if isinstance(item, list) else str(item) for item in packages)
        result.note(f"packages not installed (no package source, but the host's programs are there): {names}")
    handled = {"bootcmd", "write_files", "runcmd", "packages", *_IGNORED}
    for key in sorted(set(map(str, config)) - handled):
        result.note(f"cloud-config key {key!r} is not carried out by a lab server")


def _items(config: dict, key: str, result: _Plan) -> list[Any]:
    value = config.get(key)
    if value is None:
        return []
    if isinstance(value, list):
        return value
    result.note(f"cloud-config {key}: expected a list, found {type(value).__name__}; it was left out")
    return []


def _write_file(entry: Any, result: _Plan) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str) or not entry["path"].startswith("/"):
        result.note(f"write_files: expected a map with an absolute `path`, found {str(entry)[:80]!r}; it was left out")
        return
    try:
        content = _decode(entry.get("content") or "", str(entry.get("encoding") or "text/plain").lower())
        mode = entry.get("permissions", 0o644)
        mode = mode if isinstance(mode, int) else int(str(mode), 8)
    except (ValueError, binascii.Error, OSError, EOFError, zlib.error) as error:
        result.note(f"write_files {entry['path']}: {error}; it was left out")
        return
    step: Step = {"kind": "write", "path": entry["path"], "content": _encode(content), "mode": mode & 0o7777}
    if entry.get("owner"):
        step["owner"] = str(entry["owner"])
    if entry.get("append"):
        step["append"] = True
    (result.late_files if entry.get("defer") else result.files).append(step)


def _decode(content: str | bytes, encoding: str) -> bytes:
    raw = content.encode() if isinstance(content, str) else bytes(content)
    names = set(encoding.replace("gzip", "gz").replace("base64", "b64").split("+"))
    if names - {"gz", "b64", "text/plain"}:
        raise ValueError(f"unknown encoding {encoding!r}")
    if "b64" in names or "gz" in names:
        raw = base64.b64decode(b"".join(raw.split()), validate=True) if "b64" in names else raw
    return _decompress(raw) if "gz" in names else raw


def _decompress(content: bytes) -> bytes:
    worker = zlib.decompressobj(31)
    plain = worker.decompress(content, MAX_DECOMPRESSED)
    if worker.unconsumed_tail:
        raise gzip.BadGzipFile(f"more than {MAX_DECOMPRESSED} bytes when decompressed")
    if not worker.eof:
        raise gzip.BadGzipFile("the compressed data is not complete")
    return plain


def _shell_script(commands: list[Any]) -> bytes:
    lines = ["#!/bin/sh"]
    for command in commands:
        if isinstance(command, list):
            lines.append(shlex.join(str(word) for word in command))
        elif command is not None:
            lines.append(str(command))
    return ("\n".join(lines) + "\n").encode()


def _script(name: str, content: bytes) -> Step:
    return {"kind": "script", "name": name.replace("/", "_"), "content": _encode(content)}


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
