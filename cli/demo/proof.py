"""What was deployed is asked by HTTP, as its users would: a status report proves nothing."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import requests


@dataclasses.dataclass(frozen=True)
class Answer:
    """One request and what came back."""

    request: str
    status: int
    excerpt: str
    good: bool


def get(url: str, *, expect: int = 200, contains: str = "", auth: tuple[str, str] | None = None) -> Answer:
    """GET `url`; good if the status is `expect` and the body has `contains`."""
    try:
        response = requests.get(url, auth=auth, timeout=5)
    except requests.RequestException as error:
        return Answer(f"GET {url}", 0, type(error).__name__, False)
    text = " ".join(response.text.split())
    good = response.status_code == expect and contains in response.text
    return Answer(f"GET {url}", response.status_code, text[:100], good)


def eventually(ask: Callable[[], Answer], patience: float = 20.0) -> Answer:
    """Ask until the answer is good, or patience ends; the last answer."""
    deadline = time.monotonic() + patience
    while True:
        answer = ask()
        if answer.good or time.monotonic() > deadline:
            return answer
        time.sleep(0.2)


def until(condition: Callable[[], Any], patience: float = 20.0) -> Any:
    """The first true value of `condition`, or its last one when patience ends."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.2)
