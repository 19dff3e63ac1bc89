"""Where the notes to an agent are in its conversations. Pure.

A note goes to the end of the last user turn of the first request that is seen with it, and is put
at that same place in every request that goes on from there: what a provider has cached of the
conversation stays good. A place is known again by its number and by the message there; where it is
not to be found (with a sub-agent, after a compaction, on another branch) the note goes to the last
user turn as if it were new. Where notes are is not kept on disk: after a restart of the proxy each
is put at the last user turn once more, and stays there.

Left alone are requests that are no turn of a conversation, and those without tools of an agent that
has been seen with some: titles, summaries of pages, questions about which model to take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fleet.core.caller import Caller
from fleet.proxy.dialects.dialect import DialectName, Endpoint
from fleet.proxy.dialects.noting import CONVERSATIONS, Talk, worded

MOST_PLACES = 64  # remembered of one note, the newest

_Place = tuple[int, bytes]  # of a message: its number, and its likeness


class Notes:
    """Of all callers. To be told when one is none any more."""

    def __init__(self) -> None:
        self._with_tools: set[str] = set()  # callers, by key
        self._places: dict[str, dict[int, list[_Place]]] = {}  # by caller and note

    def __len__(self) -> int:
        return len(self._places)

    def uses_tools(self, caller: Caller) -> None:
        """It sent a request that offers tools to its model."""
        self._with_tools.add(caller.key)

    def forget(self, callers: Iterable[Caller]) -> None:
        for caller in callers:
            self._with_tools.discard(caller.key)
            self._places.pop(caller.key, None)

    def put(
        self, caller: Caller, dialect: DialectName, endpoint: Endpoint | None, body: bytes
    ) -> bytes:
        """The body with the caller's notes in it. One that cannot be read goes on as it is: what
        is wrong with it is for the provider to say."""
        if endpoint not in CONVERSATIONS:
            return body
        try:
            talk = Talk(dialect, body)
            if talk.offers_tools:
                self._with_tools.add(caller.key)
            elif caller.key in self._with_tools:
                return body
            return talk.with_notes(self._find(caller, talk))
        except (ValueError, RecursionError):
            return body

    def _find(self, caller: Caller, talk: Talk) -> dict[int, list[str]]:
        """What to say at which places."""
        last, found = talk.last_user_turn(), dict[int, list[str]]()
        if last is None:
            return found
        known = self._places.setdefault(caller.key, {})
        for note in caller.notes:
            places = known.setdefault(note.seq, [])
            place = _again(talk, places)
            if place is None:
                if talk.goes_on and places:
                    continue
                place = last
                places.insert(0, (last, talk.likeness(last)))
                del places[MOST_PLACES:]
            found.setdefault(place, []).append(worded(note.text))
        return found


def _again(talk: Talk, places: Sequence[_Place]) -> int | None:
    return next((place for place, like in places if talk.likeness(place) == like), None)
