"""Where an upstream lives."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fleet.core.errors import FleetError

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    scheme: str
    host: str  # an IPv6 address without its brackets
    port: int
    key: str = field(init=False, compare=False)
    authority: bytes = field(init=False, compare=False)  # what a host header says

    def __post_init__(self) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        name = host if _PORTS.get(self.scheme) == self.port else f"{host}:{self.port}"
        object.__setattr__(self, "key", f"{self.scheme}://{host}:{self.port}")
        object.__setattr__(self, "authority", name.encode("ascii"))

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"

    @classmethod
    def parse(cls, url: str) -> tuple[Origin, str]:
        """The origin, and the path that every target begins with: "" or one without a slash at
        its end."""
        try:
            parts = urlsplit(url)
            scheme, host = parts.scheme, (parts.hostname or "").encode("idna").decode("ascii")
            port = parts.port or _PORTS.get(scheme, 0)
            parts.path.encode("ascii")
        except ValueError as error:
            raise FleetError(f"{url!r} is no URL of an upstream: {error}") from error
        if scheme not in _PORTS or not host:
            raise FleetError(f"{url!r} is no URL of an upstream: it begins http:// or https://")
        if parts.username is not None or parts.query or parts.fragment or " " in url:
            raise FleetError(
                f"{parts.hostname}: the URL of an upstream is a scheme, a host and a path; "
                "a key belongs in the environment"
            )
        return cls(scheme, host, port), parts.path.rstrip("/")
