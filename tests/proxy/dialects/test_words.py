from __future__ import annotations

import json

import pytest

from fleet.proxy.dialects import table
from fleet.proxy.dialects.dialect import Dialect, DialectName, Endpoint, Sort
from fleet.proxy.sse import data_of, name_of
from fleet.proxy.wire import Reply, Trouble, header
from tests.proxy.dialects.streams import read

ENDPOINT = {
    DialectName.ANTHROPIC: Endpoint.MESSAGES,
    DialectName.CHAT: Endpoint.CHAT,
    DialectName.RESPONSES: Endpoint.RESPONSES,
    DialectName.GEMINI: Endpoint.GENERATE,
}
ALL = (table.ANTHROPIC, table.CHAT, table.RESPONSES, table.GEMINI)


def refused(dialect: Dialect, trouble: Trouble) -> Reply:
    return dialect.refusal(trouble, 'no "good"', request_id="req_7")


@pytest.mark.parametrize(
    ("trouble", "status", "kind"),
    [
        (Trouble.BAD_REQUEST, 400, "invalid_request_error"),
        (Trouble.UNAUTHORIZED, 401, "authentication_error"),
        (Trouble.NOT_FOUND, 404, "not_found_error"),
        (Trouble.TOO_LARGE, 413, "request_too_large"),
        (Trouble.OVERLOADED, 529, "overloaded_error"),
        (Trouble.TIMEOUT, 504, "timeout_error"),
        (Trouble.UPSTREAM, 502, "api_error"),
        (Trouble.INTERNAL, 500, "api_error"),
    ],
)
def test_anthropic_clients_are_refused_in_their_words(
    trouble: Trouble, status: int, kind: str
) -> None:
    reply = refused(table.ANTHROPIC, trouble)
    assert reply.status == status
    assert json.loads(reply.body) == {
        "type": "error",
        "error": {"type": kind, "message": 'no "good"'},
        "request_id": "req_7",
    }
    assert header(reply.headers, b"request-id") == b"req_7"
    assert header(reply.headers, b"content-type") == b"application/json"


@pytest.mark.parametrize(
    ("trouble", "status", "kind", "code"),
    [
        (Trouble.BAD_REQUEST, 400, "invalid_request_error", None),
        (Trouble.UNAUTHORIZED, 401, "invalid_request_error", "invalid_api_key"),
        (Trouble.OVERLOADED, 503, "server_error", "server_is_overloaded"),
        (Trouble.TOO_LARGE, 413, "invalid_request_error", "request_too_large"),
        (Trouble.TIMEOUT, 504, "server_error", "timeout"),
    ],
)
def test_openai_clients_are_refused_in_their_words(
    trouble: Trouble, status: int, kind: str, code: str | None
) -> None:
    for dialect in (table.CHAT, table.RESPONSES):
        reply = refused(dialect, trouble)
        assert reply.status == status
        assert json.loads(reply.body) == {
            "error": {"message": 'no "good"', "type": kind, "param": None, "code": code}
        }
        assert header(reply.headers, b"x-request-id") == b"req_7"


def test_gemini_clients_are_refused_in_their_words() -> None:
    reply = refused(table.GEMINI, Trouble.OVERLOADED)
    assert reply.status == 503
    assert json.loads(reply.body) == {
        "error": {"code": 503, "message": 'no "good"', "status": "UNAVAILABLE"}
    }


@pytest.mark.parametrize("dialect", ALL)
def test_every_trouble_has_words_and_says_when_to_come_back(dialect: Dialect) -> None:
    for trouble in Trouble:
        plain = refused(dialect, trouble)
        assert json.loads(plain.body)["error"]["message"] == 'no "good"'
        assert header(plain.headers, b"retry-after") == b""
        assert header(plain.headers, b"x-should-retry") == b""
        told = dialect.refusal(trouble, "x", request_id="r", retry_after_s=7, retry=True)
        assert header(told.headers, b"retry-after") == b"7"
        assert header(told.headers, b"x-should-retry") == b"true"
        final = dialect.refusal(trouble, "x", request_id="r", retry=False)
        assert header(final.headers, b"x-should-retry") == b"false"


@pytest.mark.parametrize("dialect", ALL)
def test_a_broken_answer_ends_in_an_error_event(dialect: Dialect) -> None:
    event = dialect.broken('cut\n\n"here"')
    assert event.endswith(b"\n\n")
    assert event.count(b"\n\n") == 1
    assert b"cut" in event
    meter, sorts = read(dialect, ENDPOINT[dialect.name], [event])
    assert sorts == [Sort.ERROR]
    assert not meter.ended
    assert dialect.fold([event]) is None


def test_broken_answers_have_the_form_their_clients_read() -> None:
    anthropic = table.ANTHROPIC.broken("cut")
    assert name_of(anthropic) == b"error"
    assert json.loads(data_of(anthropic)) == {
        "type": "error",
        "error": {"type": "api_error", "message": "cut"},
    }
    chat = json.loads(data_of(table.CHAT.broken("cut")))
    assert chat["error"]["message"] == "cut"
    responses = table.RESPONSES.broken("cut")
    assert name_of(responses) == b"error"
    assert json.loads(data_of(responses))["message"] == "cut"


@pytest.mark.parametrize(
    ("dialect", "agent", "event"),
    [
        (
            table.ANTHROPIC,
            "claude-cli/2.1.197 (external, sdk-cli)",
            b'event: message_delta\ndata: {"type":"keepalive"}\n\n',
        ),
        (table.ANTHROPIC, "Anthropic/Python 1.0", b'event: ping\ndata: {"type":"ping"}\n\n'),
        (table.CHAT, "OpenAI/Python 1.0", b": keepalive\n\n"),
        (
            table.RESPONSES,
            "codex_exec/0.169.0",
            b'event: keepalive\ndata: {"type":"keepalive"}\n\n',
        ),
        (table.RESPONSES, "OpenAI/Python 1.0", b": keepalive\n\n"),
        (table.GEMINI, "google-genai-sdk/1.0", b"\n\n"),
    ],
)
def test_clients_are_kept_waiting_by_what_they_hear_and_ignore(
    dialect: Dialect, agent: str, event: bytes
) -> None:
    assert dialect.keepalive(agent) == event
    assert read(dialect, ENDPOINT[dialect.name], [event])[1] == [Sort.PREAMBLE]
