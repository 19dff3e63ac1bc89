"""What the head of a request says, before anybody has looked at its body.

A client sends nearly the same head with every request, so what follows from one is remembered:
reading it anew is a tenth of what the proxy does for a small request.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet.proxy.dialects import table
from fleet.proxy.dialects.table import Place
from fleet.proxy.fingerprint import TELLING
from fleet.proxy.headers import CREDENTIALS, for_upstream
from fleet.proxy.identity import credentials, without_key
from fleet.proxy.stage import Priority
from fleet.proxy.subscriber import DEDUP
from fleet.proxy.wire import Headers, Request, header

SESSION_HEADERS = (b"x-claude-code-session-id", b"session-id", b"x-session-id")
PRIORITY = b"x-fleet-priority"
_URGENCIES = {level.name.lower().encode(): level for level in Priority}
REMEMBERED = 512  # in each of two generations
LARGEST = 16 << 10  # bytes of a head that is remembered: anybody may send some

_Seen = tuple[str, str, Headers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    token: bytes
    target: str  # as it goes on: without the token
    target_without_login: str
    path: str
    query: str
    place: Place
    session: bytes  # as the client names it; b"" when it does not
    login: bytes  # what the client shows its provider; b"" if nothing
    opts_out: bool  # of sharing its answer
    urgency: Priority  # at most; what its task is, if it does not say
    telling: Headers  # those that change an answer
    onward: Headers  # what goes on to a provider
    onward_with_login: Headers


class Heads:
    def __init__(self) -> None:
        self._young: dict[_Seen, Head] = {}
        self._old: dict[_Seen, Head] = {}

    def read(self, request: Request) -> Head:
        headers = tuple([pair for pair in request.headers if pair[0] != b"content-length"])
        seen = (request.method, request.target, headers)
        return self._young.get(seen) or self._remember(seen)

    def _remember(self, seen: _Seen) -> Head:
        head = self._old.pop(seen, None) or _read(*seen)
        if len(head.target) + sum(len(name) + len(value) for name, value in seen[2]) > LARGEST:
            return head
        if len(self._young) >= REMEMBERED:
            self._old, self._young = self._young, {}
        self._young[seen] = head
        return head


def _read(method: str, target: str, headers: Headers) -> Head:
    token, target, has_login = credentials(headers, target)
    path, _, query = target.partition("?")
    shown = b"\0".join(value for name, value in headers if name in CREDENTIALS)
    return Head(
        token=token,
        target=target,
        target_without_login=without_key(target) if has_login else target,
        path=path,
        query=query,
        place=table.find(method, path),
        session=next(filter(None, (header(headers, name) for name in SESSION_HEADERS)), b""),
        login=shown or query.encode() if has_login else b"",
        opts_out=header(headers, DEDUP) == b"off",
        urgency=_URGENCIES.get(header(headers, PRIORITY).lower(), Priority.CRITICAL),
        telling=tuple(pair for pair in headers if pair[0] in TELLING),
        onward=for_upstream(headers, login=False),
        onward_with_login=for_upstream(headers, login=has_login),
    )
