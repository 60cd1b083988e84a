"""What a guest may answer: result messages, checked and made small enough to be kept (spec/agent-protocol §6).

Whatever way they come, from an agent of ours or from a murano-agent: a guest is hostile until checked. Texts that are
too long lose their middle, with a word that says so; what else is wrong raises `Unusable`.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MOST_VALUES = 500_000  # of one body: each takes memory, however short it is written
DEEPEST = 64  # levels of a result; programs and other services read it later, and each has a limit of its own
LARGEST = 4 * 1024 * 1024  # bytes of a result as it is kept: below MariaDB's max_allowed_packet of 16 MiB, twice
LONGEST_TEXT = 2 * 1024 * 1024  # characters of one text in it; agents of ours keep half of it of each output
SHORTEST_TEXT = 1024  # characters that are left of a text in any case

_LEFT_OUT = re.compile(r"\[\.\.\. (\d{1,18}) \w+ left out \.\.\.\]")  # what was said of an earlier middle
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_UNFIT = re.compile("[\0\ud800-\udfff]")  # what no database takes as text


class Unusable(ValueError):
    """The answer can not be used; the message says why, for the log and for whoever waits."""


def read(content: bytes) -> dict[str, Any]:
    """JSON from a guest: an object, without numbers that JSON does not have, not nested too deep. Raises `Unusable`."""
    if _values(content) > MOST_VALUES:
        raise Unusable(f"the body has more than {MOST_VALUES} values")
    try:
        value = json.loads(content or b"{}", parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Unusable(f"expected a JSON object, found {type(value).__name__}")
    if _is_deeper(value, DEEPEST):
        raise Unusable(f"the body is nested deeper than {DEEPEST} levels")
    return value


def checked_result(message: dict[str, Any]) -> dict[str, Any]:
    """The fields of a result message and no others; of an agent of format 1 its two. Raises `Unusable`."""
    if isinstance(message.get("IsException"), bool):
        return _small({"IsException": message["IsException"], "Result": message.get("Result")}, "Result")
    code = message.get("ErrorCode")
    if not isinstance(code, int) or isinstance(code, bool) or not -(2**31) <= code < 2**31:
        raise Unusable(f"ErrorCode: expected an integer, found {json.dumps(code)[:100]}")
    text_fields = ("FormatVersion", "ID", "SourceID", "Action", "Time")
    result = {name: fit(str(message[name])[:255]) for name in text_fields if message.get(name) is not None}
    return _small({**result, "ErrorCode": code, "Body": message.get("Body")}, "Body")


def error_result(source_id: str | None, message: str) -> dict[str, Any]:
    """The result of a plan whose answer can not be used."""
    body = {"Message": message, "AdditionalInfo": None}
    return {"FormatVersion": "2.0.0", "SourceID": source_id, "ErrorCode": 1, "Body": body}


def fit(text: str) -> str:
    """The text without what a database takes for no text: NUL and halves of surrogate pairs."""
    return _UNFIT.sub("\ufffd", text)


def shortened(text: str, limit: int) -> str:
    """The beginning and the end of a text of more than `limit` characters, with a word about the middle."""
    if len(text) <= limit:
        return text
    half = limit // 2
    middle = text[half:-half]
    left_out = len(middle) + sum(map(int, _LEFT_OUT.findall(middle)))
    return f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"


def _values(content: bytes) -> int:
    """How many values there are at most: counted before any of them is made."""
    if content.count(b",") + content.count(b"[") + content.count(b"{") <= MOST_VALUES:
        return 0
    bare = _TEXT.sub(b"", content)
    return bare.count(b",") + bare.count(b"[") + bare.count(b"{")


def _small(result: dict[str, Any], field: str) -> dict[str, Any]:
    """The result with its texts fit to be kept, shortened until all of it is small enough."""
    limit = LONGEST_TEXT
    value = _fit(result[field], limit)
    while len(json.dumps(value)) > LARGEST:
        limit = min(limit, _longest(value)) // 2
        if limit < SHORTEST_TEXT:
            raise Unusable(f"the result has more than {LARGEST} bytes, and not because of long texts")
        value = _fit(value, limit)
    return {**result, field: value}


def _fit(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return shortened(fit(value), limit)
    if isinstance(value, dict):
        return {fit(key): _fit(item, limit) for key, item in value.items()}
    return [_fit(item, limit) for item in value] if isinstance(value, list) else value


def _longest(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(map(_longest, parts), default=0)


def _is_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            item
            for part in layer
            for item in (part.values() if isinstance(part, dict) else part)
            if isinstance(item, dict | list)
        ]
        if not layer:
            return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is larger than a number can be")
    return number
