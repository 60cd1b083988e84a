"""Bodies that agents send: read within limits, checked field by field. Raises `Refusal`, which becomes the answer."""

from __future__ import annotations

import re
import time
from typing import Any

from catalog.db import agent_answers, outputs

BODY_SECONDS = 120.0  # for a whole body, whatever its size
BLOCK = 64 * 1024  # bytes read at a time
MOST_TEXTS = 500  # of one piece of output
OUTPUT_TEXT = 128 * 1024  # characters of one piece of output; the agent sends half of that

SHA256 = re.compile(r"[0-9a-f]{64}")
BOOT = re.compile(r"[0-9a-f]{16,64}")

Environ = dict[str, Any]


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str, headers: list[tuple[str, str]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or []


def length(environ: Environ, limit: int) -> int:
    """Bytes of the body that is to come."""
    text = environ.get("CONTENT_LENGTH") or ""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Refusal(411, "a Content-Length is needed", [("Connection", "close")])
    if int(text) > limit:
        raise Refusal(413, f"the body has {text} bytes; at most {limit} are taken", [("Connection", "close")])
    return int(text)


def read(environ: Environ, size: int) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object."""
    ends = time.monotonic() + BODY_SECONDS
    content = bytearray()
    while len(content) < size:
        try:
            block = environ["wsgi.input"].read(min(BLOCK, size - len(content)))
        except (OSError, ValueError) as error:
            raise Refusal(400, f"the body broke off: {error}", [("Connection", "close")])
        if not block:
            raise Refusal(400, f"expected {size} bytes, found {len(content)}", [("Connection", "close")])
        content += block
        if time.monotonic() > ends:
            raise Refusal(408, f"the body took longer than {BODY_SECONDS:g} s", [("Connection", "close")])
    try:
        return agent_answers.read(bytes(content))
    except agent_answers.Unusable as error:
        raise Refusal(400, str(error))


def session_hash(body: dict[str, Any]) -> str:
    """The `session` of an enrolment."""
    found = body.get("session")
    if not isinstance(found, str) or SHA256.fullmatch(found) is None:
        raise Refusal(400, "session: expected the SHA-256 of the session token, 64 lower-case hex digits")
    return found


def version(body: dict[str, Any]) -> str | None:
    """The agent's version, as far as it says one."""
    found = body.get("version")
    return agent_answers.fit(found)[:32] if isinstance(found, str) else None


def boot(body: dict[str, Any]) -> str | None:
    """Which boot of its server the agent is; older agents do not say."""
    found = body.get("boot")
    return found if isinstance(found, str) and BOOT.fullmatch(found) else None


def wait(body: dict[str, Any], limit: float) -> float:
    """Seconds a poll may wait."""
    asked = body.get("wait", limit)
    return min(float(asked), limit) if isinstance(asked, (int, float)) and 0 <= asked < 1e9 else 0.0


def result(body: dict[str, Any]) -> dict[str, Any]:
    """A result message."""
    try:
        return agent_answers.checked_result(body)
    except agent_answers.Unusable as error:
        raise Refusal(400, str(error))


def piece(body: dict[str, Any]) -> outputs.Piece:
    """`{"from": 0, "to": 17, "texts": [["script", "stdout", "text"], ...]}`."""
    begin, end, texts = body.get("from"), body.get("to"), body.get("texts")
    for name, value in (("from", begin), ("to", end)):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
            raise Refusal(400, f"{name}: expected a number of bytes, found {str(value)[:40]!r}")
    if not isinstance(texts, list) or len(texts) > MOST_TEXTS:
        raise Refusal(400, f"texts: expected a list of at most {MOST_TEXTS}")
    checked = [_text(number, each) for number, each in enumerate(texts)]
    if sum(len(text) for _, _, text in checked) > OUTPUT_TEXT:
        raise Refusal(413, f"texts: expected at most {OUTPUT_TEXT} characters together")
    return outputs.Piece(begin=int(str(begin)), end=int(str(end)), texts=checked)


def _text(number: int, entry: Any) -> tuple[str, str, str]:
    if not (isinstance(entry, list) and len(entry) == 3 and all(isinstance(part, str) for part in entry)):
        raise Refusal(400, f"texts[{number}]: expected [script, stream, text]")
    script, stream, text = entry
    if stream not in outputs.STREAMS:
        raise Refusal(400, f"texts[{number}]: expected stdout or stderr, found {stream[:40]!r}")
    return agent_answers.fit(script)[: outputs.LONGEST_NAME], stream, agent_answers.fit(text)
