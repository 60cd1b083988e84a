"""What keeps a browser's session safe: sealed cookies, strict headers, and no state change from another site."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

from cryptography import fernet

COOKIE = "chandlery_session"
# One working day; the API's own token usually ends earlier, and then the login page appears.
LIFETIME_SECONDS = 12 * 3600

HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]


class Sealer:
    """Turns a small mapping into an encrypted, signed, expiring text and back."""

    def __init__(self, key: bytes) -> None:
        self._fernet = fernet.Fernet(key)

    def seal(self, content: dict[str, Any]) -> str:
        """The text for a cookie."""
        return self._fernet.encrypt(json.dumps(content).encode()).decode()

    def open(self, text: str | None) -> dict[str, Any] | None:
        """What was sealed, or None if it is absent, too old, or not ours."""
        try:
            return dict(json.loads(self._fernet.decrypt((text or "").encode(), ttl=LIFETIME_SECONDS)))
        except (fernet.InvalidToken, ValueError):
            return None


def headers(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Adds the security headers to every answer, and refuses unsafe methods that another site asks for."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, given: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*given, *HEADERS], exc_info)

        if environ["REQUEST_METHOD"] not in ("GET", "HEAD") and not same_site(environ):
            start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"This form was sent from another site. Open the dashboard itself and try again.\n"]
        return application(environ, start)

    return answer


def same_site(environ: dict[str, Any]) -> bool:
    """True if the request comes from a page of this host: by ``Sec-Fetch-Site``, else by ``Origin`` or ``Referer``."""
    fetch_site = environ.get("HTTP_SEC_FETCH_SITE")
    if fetch_site:
        return bool(fetch_site == "same-origin")
    source = environ.get("HTTP_ORIGIN") or environ.get("HTTP_REFERER")
    return bool(source) and urllib.parse.urlsplit(source).netloc == environ.get("HTTP_HOST")
