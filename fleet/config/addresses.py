"""What is the matter with the address of an upstream. Its text may hold a password or a key, so
none of it is ever in a message."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

FIX = 'such as "https://api.example.com"'


def wrong_url(url: str, *, insecure: bool) -> tuple[str, str]:
    """What is wrong, and what to do; ("", "") if nothing is. Keys go in the clear only where
    nobody listens, unless `insecure`."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is no URL", FIX
    if not url.isascii() or not url.isprintable() or " " in url:
        return "has characters that no URL has", FIX
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "does not begin with https:// or http:// and a host", FIX
    if "@" in parts.netloc:
        return (
            "has a user or a password in it",
            "take them out, and name the variable that holds the key in keys",
        )
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        return "has a query in it", "take everything from ? or # on out; keys go into keys"
    if parts.scheme == "http" and not insecure and not _is_near(parts):
        return (
            "is http to a host that is not on this machine or a private network: everybody on "
            "the way could read the key",
            "use https, or say insecure = true in its [proxy.upstreams.NAME]",
        )
    return "", ""


def _is_near(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False  # a name may lead anywhere, and elsewhere tomorrow
    return address.is_loopback or address.is_private
