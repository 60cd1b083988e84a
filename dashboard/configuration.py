"""What an operator tells the dashboard."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """Where the API and the identity service are, and the secret (32 url-safe base64 bytes) that seals the cookies.

    `notice` is what the operator wants everybody to know; `simulated` says that the cloud is not a real one, which
    every node of a topology then says of itself.
    """

    api_url: str
    auth_url: str
    cookie_key: bytes
    notice: str = ""
    simulated: bool = False
