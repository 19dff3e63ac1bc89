from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from fleet.core.caller import Caller
from fleet.core.note import Note
from fleet.proxy.dialects.dialect import DialectName, Endpoint
from fleet.proxy.dialects.noting import worded
from fleet.proxy.notes import MOST_PLACES, Notes

Json = dict[str, Any]

LEFT, RIGHT = Note(1, 'go "left" – 👍'), Note(2, "go right")
TOOLS = [{"name": "bash"}]
PLACES = {
    DialectName.ANTHROPIC: ("messages", Endpoint.MESSAGES),
    DialectName.CHAT: ("messages", Endpoint.CHAT),
    DialectName.RESPONSES: ("input", Endpoint.RESPONSES),
    DialectName.GEMINI: ("contents", Endpoint.GENERATE),
}


def asks(dialect: DialectName, text: str) -> Json:
    if dialect is DialectName.GEMINI:
        return {"role": "user", "parts": [{"text": text}]}
    return {"role": "user", "content": text}


def works(dialect: DialectName, number: int) -> list[Json]:
    """The model calls two tools, and is shown what they gave."""
    ids = [f"call{number}a", f"call{number}b"]
    match dialect:
        case DialectName.ANTHROPIC:
            calls = [{"type": "tool_use", "id": id_, "name": "bash", "input": {}} for id_ in ids]
            results = [{"type": "tool_result", "tool_use_id": id_, "content": "ok"} for id_ in ids]
            said: Json = {"role": "assistant", "content": calls}
            return [said, {"role": "user", "content": results}]
        case DialectName.CHAT:
            wanted = {"name": "bash", "arguments": "{}"}
            made = [{"id": id_, "type": "function", "function": wanted} for id_ in ids]
            return [
                {"role": "assistant", "content": None, "tool_calls": made},
                *({"role": "tool", "tool_call_id": id_, "content": "ok"} for id_ in ids),
            ]
        case DialectName.RESPONSES:
            return [
                *({"type": "function_call", "call_id": id_, "name": "bash"} for id_ in ids),
                *({"type": "function_call_output", "call_id": i, "output": "ok"} for i in ids),
            ]
        case DialectName.GEMINI:
            call = [{"functionCall": {"name": "bash", "id": id_}} for id_ in ids]
            gave = [{"functionResponse": {"name": "bash", "id": id_}} for id_ in ids]
            return [{"role": "model", "parts": call}, {"role": "user", "parts": gave}]


def caller(*notes: Note, key: str = "one.1") -> Caller:
    return Caller(hash="h", task="one", epoch=1, key=key, notes=notes)


class Side:
    """One agent's requests, with what the proxy makes of them."""

    def __init__(self, dialect: DialectName, notes: Notes | None = None) -> None:
        self.dialect = dialect
        self.notes = notes or Notes()
        self.member, self.endpoint = PLACES[dialect]

    def body(self, messages: object, **more: object) -> bytes:
        told = {"model": "m", "tools": TOOLS, **more, self.member: messages}
        return json.dumps(told, ensure_ascii=False).encode()

    def noted(self, body: bytes, *notes: Note) -> bytes:
        return self.notes.put(caller(*notes), self.dialect, self.endpoint, body)

    def sent(self, messages: object, *notes: Note, **more: object) -> list[Json]:
        found = json.loads(self.noted(self.body(messages, **more), *notes))
        assert {**found, self.member: messages} == json.loads(self.body(messages, **more))
        return list(found[self.member])

    def text(self, note: Note) -> Json:
        """The note as a message, or as a part of one."""
        said = worded(note.text)
        match self.dialect:
            case DialectName.ANTHROPIC:
                return {"type": "text", "text": said}
            case DialectName.CHAT:
                return {"role": "user", "content": said}
            case DialectName.RESPONSES:
                part = {"type": "input_text", "text": said}
                return {"type": "message", "role": "user", "content": [part]}
            case DialectName.GEMINI:
                return {"role": "user", "parts": [{"text": said}]}


@pytest.fixture(params=list(DialectName), ids=str)
def side(request: pytest.FixtureRequest) -> Side:
    return Side(request.param)


def conversation(side: Side, turns: int) -> list[Json]:
    messages = [asks(side.dialect, "do it")]
    for number in range(turns):
        messages += works(side.dialect, number)
    return messages


def shares_prefix(earlier: bytes, later: bytes) -> None:
    """Up to the messages that are new. A body ends with its last message, a bracket, a brace."""
    assert later.startswith(earlier[:-2])


def test_without_a_note_not_a_byte_changes(side: Side) -> None:
    body = side.body(conversation(side, 2))
    assert side.noted(body) == body


def test_after_results_of_tools_it_is_said_as_the_format_wants_it(side: Side) -> None:
    messages = conversation(side, 1)
    found = side.sent(messages, LEFT)
    if side.dialect is DialectName.ANTHROPIC:
        assert found[-1]["content"] == [*messages[-1]["content"], side.text(LEFT)]
        assert found[:-1] == messages[:-1]
    else:
        assert found == [*messages, side.text(LEFT)]


def test_in_a_text_of_the_users_it_comes_last(side: Side) -> None:
    (found, *more) = side.sent([asks(side.dialect, "do it")], LEFT, RIGHT)
    said = worded(LEFT.text), worded(RIGHT.text)
    match side.dialect:
        case DialectName.ANTHROPIC:
            assert [part["text"] for part in found["content"]] == ["do it", *said]
        case DialectName.CHAT:
            assert found["content"] == "\n\n".join(["do it", *said])
        case DialectName.RESPONSES:
            assert (found["content"], more) == ("do it", [side.text(LEFT), side.text(RIGHT)])
        case DialectName.GEMINI:
            assert [part["text"] for part in found["parts"]] == ["do it", *said]
    assert not more or side.dialect is DialectName.RESPONSES


def test_it_stays_where_it_was_said_first(side: Side) -> None:
    before = side.noted(side.body(conversation(side, 1)))
    sent = [side.noted(side.body(conversation(side, turns)), LEFT) for turns in range(1, 5)]
    sent += [side.noted(side.body(conversation(side, turns)), LEFT, RIGHT) for turns in range(5, 8)]
    assert sent[0].startswith(before[:-4])  # the message it is said in may have been its last
    for earlier, later in itertools.pairwise(sent):
        shares_prefix(earlier, later)
        assert later.count(b"go right") == (1 if later in sent[4:] else 0)
        assert later.count("– 👍".encode()) == 1


def test_a_request_that_is_sent_again_is_the_same_again(side: Side) -> None:
    body = side.body(conversation(side, 2))
    first = side.noted(body, LEFT)
    side.noted(side.body(conversation(side, 3)), LEFT)
    assert side.noted(body, LEFT) == first
    both = side.noted(body, LEFT, RIGHT)  # came before the answer did
    assert side.noted(body, LEFT, RIGHT) == both
    assert both.index(b"go right") > both.index("– 👍".encode())


def test_a_subagent_has_it_at_a_place_of_its_own(side: Side) -> None:
    main, other = conversation(side, 3), [asks(side.dialect, "look at that")]
    first = side.noted(side.body(main), LEFT)
    begun = side.noted(side.body(other), LEFT)
    assert begun.count("– 👍".encode()) == 1
    shares_prefix(begun, side.noted(side.body([*other, *works(side.dialect, 9)]), LEFT))
    shares_prefix(first, side.noted(side.body([*main, *works(side.dialect, 3)]), LEFT))


def test_after_a_compaction_it_is_said_once_more(side: Side) -> None:
    side.noted(side.body(conversation(side, 6)), LEFT)
    short = [asks(side.dialect, "so far: much"), *works(side.dialect, 6)]
    first = side.noted(side.body(short), LEFT)
    assert first.count("– 👍".encode()) == 1
    shares_prefix(first, side.noted(side.body([*short, *works(side.dialect, 7)]), LEFT))


def test_both_branches_of_a_fork_keep_theirs(side: Side) -> None:
    trunk = conversation(side, 2)
    one = [*trunk, *works(side.dialect, 2)]
    other = [*trunk, *works(side.dialect, 20)]
    first, second = (side.noted(side.body(branch), LEFT) for branch in (one, other))
    for _ in range(2):
        shares_prefix(first, side.noted(side.body([*one, *works(side.dialect, 3)]), LEFT))
        shares_prefix(second, side.noted(side.body([*other, *works(side.dialect, 3)]), LEFT))
    back = side.noted(side.body(trunk), LEFT)  # before either place
    assert back.count("– 👍".encode()) == 1


def test_after_a_restart_it_is_put_at_the_last_turn_once(side: Side) -> None:
    side.noted(side.body(conversation(side, 2)), LEFT)
    restarted = Side(side.dialect)
    first = restarted.noted(restarted.body(conversation(side, 3)), LEFT)
    fresh = Side(side.dialect)
    assert first == fresh.noted(fresh.body(conversation(side, 3)), LEFT)
    shares_prefix(first, restarted.noted(restarted.body(conversation(side, 4)), LEFT))


def test_only_bytes_are_added_whatever_the_layout(side: Side) -> None:
    told = {side.member: conversation(side, 2), "tools": TOOLS, "note": "\\u00e9\\"}
    for layout in ({"indent": 1}, {"separators": (",", ":")}, {"indent": "\t\r\n"}):
        body = json.dumps(told, **layout).encode()
        found = side.noted(body, LEFT)
        same = next(n for n, (a, b) in enumerate(zip(body, found, strict=False)) if a != b)
        assert found.endswith(body[same:])
        assert len(json.loads(found)) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b"{nonsense",
        b'{"tools": [{"a": 1}]}',
        b'{"messages": {}, "input": 1, "contents": "x"}',
        b'{"messages": [], "input": [], "contents": []}',
        b'{"messages": [1], "input": [1], "contents": [1]}',
        b'{"messages": [{"role": "assistant"}], "contents": [{"role": "model"}]}',
        b'{"contents": [{"parts": 3}]}',
        b'{"messages": [{"role": "user"}], "messages": [], "input": [], "input": []}',
        b'{"messages": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_what_cannot_be_read_goes_on_as_it_is(side: Side, body: bytes) -> None:
    assert side.noted(body, LEFT) == body


@pytest.mark.parametrize("content", [None, 7, [], [1]])
def test_odd_messages_of_the_user_do_no_harm(content: object) -> None:
    for dialect in (DialectName.ANTHROPIC, DialectName.CHAT):
        side = Side(dialect)
        found = json.loads(side.noted(side.body([{"role": "user", "content": content}]), LEFT))
        assert repr(worded(LEFT.text)) in repr(found)


def test_half_an_emoji_in_a_tools_output_is_kept_as_it_came(side: Side) -> None:
    """What a client writes that cuts a text in the middle: no reader of ours takes it."""
    messages = conversation(side, 2)
    whole = json.dumps({side.member: messages, "tools": TOOLS}).encode()
    body = whole.replace(b'"do it', b'"cut \\ud83d do it \\ud83d\\ude00')
    assert body != whole
    found = side.noted(body, LEFT)
    at = next(n for n, (a, b) in enumerate(zip(body, found, strict=False)) if a != b)
    assert found.endswith(body[at:])
    assert found == side.noted(body, LEFT) != body


def test_clients_that_move_their_cache_marks_keep_the_place() -> None:
    side, mark = Side(DialectName.ANTHROPIC), {"cache_control": {"type": "ephemeral"}}
    begun: Json = {"role": "user", "content": [{"type": "text", "text": "do it", **mark}]}
    first = side.sent([begun], LEFT)
    later = side.sent([asks(side.dialect, "do it"), *works(side.dialect, 0)], LEFT)
    assert later[0]["content"] == [{"type": "text", "text": "do it"}, side.text(LEFT)]
    assert first[0]["content"][-1] == side.text(LEFT)
    assert first[0]["content"][0] == {"type": "text", "text": "do it", **mark}


def test_systems_and_what_the_client_says_itself_are_no_user_turns() -> None:
    chat = Side(DialectName.CHAT)
    system = {"role": "system", "content": "be good"}
    assert chat.sent([asks(chat.dialect, "do it"), system], LEFT)[-1] == system
    codex = Side(DialectName.RESPONSES)
    rules = {"type": "message", "role": "developer", "content": "be good"}
    found = codex.sent([asks(codex.dialect, "do it"), rules], LEFT)
    assert found[1:] == [codex.text(LEFT), rules]
    claude = Side(DialectName.ANTHROPIC)
    begun = {"role": "assistant", "content": "I"}
    found = claude.sent([asks(claude.dialect, "do it"), begun], LEFT, system="be good")
    assert found[-1] == begun
    assert len(found[0]["content"]) == 2


def test_results_of_one_turn_are_never_parted() -> None:
    """A client that sends results as they come has more of them the next time."""
    for dialect in (DialectName.CHAT, DialectName.RESPONSES):
        side, messages = Side(dialect), conversation(Side(dialect), 1)
        assert side.sent(messages[:-1], LEFT)[-1] == side.text(LEFT)
        assert side.sent(messages, LEFT) == [*messages, side.text(LEFT)]


def test_a_bare_input_becomes_the_list_it_stands_for() -> None:
    side = Side(DialectName.RESPONSES)
    bare = side.noted(side.body("do it"), LEFT)
    asked = {"role": "user", "content": "do it"}
    assert json.loads(bare)["input"] == [asked, side.text(LEFT)]
    assert side.sent([asked, *works(side.dialect, 0)], LEFT)[1] == side.text(LEFT)


def test_what_is_at_the_provider_already_is_not_said_again() -> None:
    side = Side(DialectName.RESPONSES)
    outputs = works(side.dialect, 0)[2:]
    stateful = {"previous_response_id": "r1"}
    assert side.sent(outputs, LEFT, **stateful) == [*outputs, side.text(LEFT)]
    more = works(side.dialect, 1)[2:]
    assert side.sent(more, LEFT, previous_response_id="r2") == more
    assert side.sent(outputs, LEFT, **stateful) == [*outputs, side.text(LEFT)]  # sent again


def test_calls_beside_the_conversation_are_left_alone(side: Side) -> None:
    title = json.dumps({side.member: [asks(side.dialect, "a title, please")]}).encode()
    agent = caller(LEFT)
    for endpoint in (Endpoint.COUNT_TOKENS, Endpoint.EMBEDDINGS, Endpoint.MODELS, None):
        assert side.notes.put(agent, side.dialect, endpoint, title) == title
    assert side.noted(title, LEFT) != title  # all it has ever asked
    side.notes.uses_tools(agent)
    assert side.noted(title, LEFT) == title
    assert side.noted(side.body([asks(side.dialect, "do it")]), LEFT).count(b"left") == 1
    without = json.dumps({"tools": [], side.member: [asks(side.dialect, "x")]}).encode()
    assert side.noted(without, LEFT) == without


def test_what_is_remembered_is_bounded_and_ends_with_the_caller(side: Side) -> None:
    for number in range(MOST_PLACES + 3):
        side.noted(side.body([asks(side.dialect, f"part {number}")]), LEFT)
    (places,) = side.notes._places["one.1"].values()
    assert len(places) == MOST_PLACES
    side.notes.uses_tools(caller(key="two.1"))
    side.notes.forget([caller(), caller(key="two.1")])
    assert (len(side.notes), side.notes._with_tools) == (0, set())


def test_callers_do_not_share_places(side: Side) -> None:
    body = side.body(conversation(side, 1))
    longer = side.body(conversation(side, 2))
    side.noted(body, LEFT)
    other = side.notes.put(caller(LEFT, key="two.1"), side.dialect, side.endpoint, longer)
    mine = side.noted(longer, LEFT)
    assert mine != other
    shares_prefix(side.noted(body, LEFT), mine)
