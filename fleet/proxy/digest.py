"""What of a body counts when two requests are compared, as one SHA-256.

Everything counts, as the bytes it came in, but for a short list of members that say who asks or
how the answer is to be sent. Text is never folded, trimmed or put in another order; only the order
of the top-level members does not matter. Where a body is laid out in a way that could hide
something (a member twice, odd spacing, escapes in names), nothing is left out of it: too narrow
costs a call, too wide would give somebody a wrong answer.

What is hashed are the values, tools, system and messages first, then a table of names and lengths
that says where each begins: no two different bodies run together. The digest of the cacheable
prefix is the same hash, stopped half-way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from fleet.proxy.dialects.dialect import DialectName, Members

LEAST_PREFIX = 4096  # bytes; about the 1,024 tokens that providers cache at least

_OPENAI = frozenset(
    {
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "client_metadata",
    }
)
LEFT_OUT: dict[DialectName, frozenset[str]] = {  # and, within others: see `_parts`
    DialectName.ANTHROPIC: frozenset({"stream"}),
    DialectName.CHAT: _OPENAI,
    DialectName.RESPONSES: _OPENAI,
    DialectName.GEMINI: frozenset(),
}
_SWITCH = (b"true", b"false", b"null")  # any other `stream` is an error, and counts

# Where a dialect marks the end of its cacheable prefix: the first of these that has a mark.
_MARKED: dict[DialectName, tuple[str, ...]] = {
    DialectName.ANTHROPIC: ("system", "tools", "messages"),
    DialectName.CHAT: ("messages",),
}
_MARK = b'"cache_control"'
_REACH = 64 << 10  # bytes from a member's end within which its last mark is looked for
_FIRST = ("tools", "system", "messages")  # in the order in which providers cache them

_BILLING = re.compile(
    rb'\[\s?\{\s?(?:"type"\s?:\s?"text"\s?,\s?)?"text"\s?:\s?"x-anthropic-billing-header[^"\\]*'
)
_PER_REQUEST = re.compile(rb"cch=[0-9a-z]+;?")
_USER_ONLY = re.compile(rb'\{"user_id": ?"[^"\\]*(?:\\.[^"\\]*)*"\}')
_TYPE_FIRST = (
    re.compile(  # an item whose id is known without reading it: which, or that none may go
        rb'\{"type": ?"(?:message", ?"id": ?("[^"\\]*")|(?!message"|reasoning"))'
    )
)
_NAMELESS = (b'"message"', b'"reasoning"')
_MOST_MEMBERS = 256  # no dialect has as many; putting a million in order would stop the loop
_SMALL = 16 << 10  # bytes; below it, one update with a copy is faster than several without


class _Item(msgspec.Struct):
    type: msgspec.Raw = msgspec.Raw(b"")
    id: msgspec.Raw = msgspec.Raw(b"")
    role: msgspec.Raw = msgspec.Raw(b"")
    encrypted_content: msgspec.Raw = msgspec.Raw(b"")


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_item = msgspec.json.Decoder(_Item)

_Pieces = Sequence[bytes | memoryview]
_Part = tuple[str, object, _Pieces]  # a member as it counts: name, lengths for the table, bytes


def members_of(body: bytes) -> Members | None:
    """None if it is no JSON object."""
    try:
        return _members.decode(body)
    except (ValueError, RecursionError):
        return None


def digests(
    dialect: DialectName, place: str, body: bytes, members: Members, *, has_prefix: bool
) -> tuple[bytes, bytes]:
    """Of what counts, and of the cacheable prefix: b"" if that is short or not marked."""
    gap = _gap(body, members) if len(members) <= _MOST_MEMBERS else None
    if gap is None:
        return sha256(b"".join((b"whole\0", sha256(body).digest(), place.encode()))).digest(), b""
    layout = _Layout(body, members, gap)
    cut = _cut(dialect, layout) if has_prefix and len(body) > LEAST_PREFIX else None
    table: list[object] = [place]
    pieces: list[bytes | memoryview] = []
    state, prefix = sha256(), b""
    for name, lengths, own in _parts(dialect, layout):
        if cut is not None and name == cut[0]:
            value = memoryview(own[0])
            split = len(value) - cut[1]
            _feed(state.update, (*pieces, value[:split]))
            if sum(map(len, pieces)) + split >= LEAST_PREFIX:
                stopped = state.copy()
                _feed(stopped.update, _framed([*table, name, split]))
                prefix = stopped.digest()
            pieces, own = [], (value[split:],)
        table.append((name, lengths))
        pieces += own
    pieces += _framed(table)
    _feed(state.update, pieces)
    return state.digest(), prefix


def _framed(table: list[object]) -> tuple[bytes, bytes]:
    """To be read from the end: a length, the table, and what it tells of."""
    text = msgspec.json.encode(table)
    return text, len(text).to_bytes(8, "big")


def _feed(update: Callable[[bytes | memoryview], None], pieces: _Pieces) -> None:
    if sum(map(len, pieces)) < _SMALL:
        update(b"".join(pieces))
    else:
        for piece in pieces:
            update(piece)


def _gap(body: bytes, members: Members) -> int | None:
    """How many spaces follow a colon or comma; None unless the members are all there is.

    With none between them no shorter text could hold these members, so one of just that length
    holds each once. With one, as Python's `json` writes them, each is looked at.
    """
    count = len(members)
    least = 1 + 4 * count + sum(map(len, members)) + sum(map(len, members.values()))
    if len(body) == least:
        return 0
    if len(body) == least + 2 * count - 1 and _is_spaced(_Layout(body, members, 1)):
        return 1
    return None


class _Layout(NamedTuple):
    body: bytes
    members: Members
    gap: int

    def start(self, wanted: str) -> int:
        """Where the value of a member begins."""
        at = 1
        for name, raw in self.members.items():
            at += len(name) + 3 + self.gap
            if name == wanted:
                break
            at += len(raw) + 1 + self.gap
        return at


def _is_spaced(layout: _Layout) -> bool:
    body, at = layout.body, 1
    for name, raw in layout.members.items():
        lead = b'"%b": ' % name.encode()
        if not body.startswith(lead, at) or not body.startswith(raw, at + len(lead)):
            return False
        at += len(lead) + len(raw) + 2
    return True


def _cut(dialect: DialectName, layout: _Layout) -> tuple[str, int] | None:
    """In which member the cacheable prefix ends, and how many bytes before that one's end."""
    for name in _MARKED.get(dialect, ()):
        if name in layout.members:
            start = layout.start(name)
            end = start + len(layout.members[name])
            at = layout.body.rfind(_MARK, max(start, end - _REACH), end)
            if at >= 0:
                return name, end - at
    return None


# -- the members as they count ----------------------------------------------------------------


def _parts(dialect: DialectName, layout: _Layout) -> Iterator[_Part]:
    members = layout.members
    for name in _FIRST:
        if name in members:
            raw: bytes = members[name]
            if name == "system":
                raw = _without_billing(layout, raw)
            yield name, len(raw), (raw,)
    out = LEFT_OUT[dialect]
    for name in sorted(members):
        raw = members[name]
        if name in _FIRST or (name in out and (name != "stream" or bytes(raw) in _SWITCH)):
            continue
        part = None
        if name == "metadata" and dialect is not DialectName.GEMINI:
            part = _without_user(bytes(raw))
        elif name == "input" and dialect is DialectName.RESPONSES and _is_stateless(members):
            part = _without_ids(layout.body, raw, layout.start(name))
        yield part or (name, len(raw), (raw,))


def _without_billing(layout: _Layout, raw: bytes) -> bytes:
    """Claude Code before 2.1.181 has a token in its first block that is new in every request."""
    start = layout.start("system")
    found = _BILLING.match(layout.body, start, start + len(raw))
    if found is None or _PER_REQUEST.search(found[0]) is None:
        return raw
    return _PER_REQUEST.sub(b"", found[0]) + layout.body[found.end() : start + len(raw)]


def _without_user(raw: bytes) -> _Part | None:
    if _USER_ONLY.fullmatch(raw):
        return "metadata", (), ()
    inner = members_of(raw)
    if inner is None or "user_id" not in inner or _gap(raw, inner) is None:
        return None
    names = sorted(inner.keys() - {"user_id"})
    return "metadata", [[name, len(inner[name])] for name in names], [inner[name] for name in names]


def _is_stateless(members: Members) -> bool:
    return "store" in members and bytes(members["store"]) == b"false"


def _without_ids(body: bytes, raw: bytes, start: int) -> _Part | None:
    """The input less the ids of its messages and reasonings: made up by the client, and looked up
    by nobody when nothing is stored. The ids that calls and their outputs share stay.

    Items are followed as long as their spacing is one of the two usual ones."""
    try:
        items = _items.decode(raw)
    except (ValueError, RecursionError):
        return None
    view, at, item_at = memoryview(body), start, start + 1
    pieces: list[memoryview] = []
    gap = len(raw) != 1 + sum(map(len, items)) + len(items)
    for item in items:
        end = item_at + len(item)
        if gap and not body.startswith(item, item_at):
            break
        found = _TYPE_FIRST.match(body, item_at, end)
        first, last = _search_id(body, item_at, end) if found is None else found.span(1)
        if first < last:
            pieces.append(view[at:first])
            at = last
        item_at = end + 1 + gap
    if not pieces:
        return None
    pieces.append(view[at : start + len(raw)])
    return "input", [len(piece) for piece in pieces], pieces


def _search_id(body: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the item's own id lies; nowhere if it has none that may go.

    A text like the id's that comes before it in the same item may go instead: they say the same.
    """
    try:
        item = _item.decode(memoryview(body)[start:end])
    except (ValueError, RecursionError):
        return start, start
    own = bytes(item.id)
    named = bytes(item.type) or bytes(item.role)  # with neither its id is all it says: a reference
    if named == b'"reasoning"' and bytes(item.encrypted_content) in (b"", b"null"):
        return start, start  # a reference as well, to what the provider may have stored
    if own and (named in _NAMELESS or (named and not item.type)):
        for lead in (b'"id":', b'"id": '):
            at = body.find(lead + own, start, end)
            if at >= 0:
                return at + len(lead), at + len(lead) + len(own)
    return start, start
