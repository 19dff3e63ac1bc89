from __future__ import annotations

import json

from fleet.trial.findings import Part, Request, Verdict, of_prefix, of_streams


def request(streamed: bool = True, method: str = "POST", **members: object) -> Request:
    body = json.dumps(members).encode()
    return Request(method=method, target="/v1/messages", body=body, streamed=streamed)


def test_streams_are_counted_among_questions() -> None:
    found = of_streams([request(), request(streamed=False), request(method="HEAD")])
    assert (found.part, found.verdict) == (Part.STREAM, Verdict.WORKS)
    assert found.what == "1 of 2 requests are streams"
    assert of_streams([request(streamed=False)]).verdict is Verdict.ABSENT


def test_a_prefix_is_the_same_when_system_and_tools_are() -> None:
    one = request(system="be good", tools=["a"], messages=["in /work/1"])
    two = request(system="be good", tools=["a"], messages=["in /work/2"])
    found = of_prefix([one], [two])
    assert found.verdict is Verdict.WORKS
    at = one.body.index(b"1")
    assert f"the first {at:,} of {len(one.body):,} bytes" in found.what
    assert "whole requests are the same" in of_prefix([one], [one]).what


def test_what_differs_is_named() -> None:
    one = request(system="in /work/1", tools=["a", "b"], messages=[])
    two = request(system="in /work/2", tools=["a"], messages=[])
    found = of_prefix([one], [two])
    assert (found.verdict, found.what) == (
        Verdict.ABSENT,
        "system and tools differ between two workspaces",
    )


def test_titles_and_probes_are_not_what_is_compared() -> None:
    title = request(system="say a title", messages=[])
    one = request(system="s" * 100, messages=[1])
    found = of_prefix([title, one, request(method="HEAD")], [one])
    assert found.verdict is Verdict.WORKS
    assert of_prefix([], [one]).verdict is Verdict.UNTRIED


def test_a_request_is_shown_in_a_line() -> None:
    shown = request(tools=[1, 2], streamed=False).shown
    assert shown == "POST /v1/messages 17 bytes, 2 tools -> JSON"
    odd = Request(method="POST", target="/", body=b"[]", streamed=True)
    assert odd.shown == "POST / 2 bytes -> stream"
