from __future__ import annotations

from fleet.proxy.pressure.loops import Loops, Patience


def test_the_same_tool_call_so_often_in_a_row_is_a_loop() -> None:
    loops = Loops(Patience(same_call=4))
    said = [loops.answered("t.1", "s", calls=b"x", tokens=10, now=float(turn)) for turn in range(5)]
    assert [bool(why) for why in said] == [False, False, False, True, True]
    assert "same tool call 4 times" in said[3]


def test_another_call_an_answer_without_one_or_another_agent_breaks_the_row() -> None:
    loops = Loops(Patience(same_call=3))
    for turn in range(30):
        calls = b"x" if turn % 3 else (b"y" if turn % 2 else b"")
        assert not loops.answered("t.1", "s", calls=calls, tokens=1, now=float(turn))
    for turn in range(20):
        assert not loops.answered(f"v.{turn % 10}", "s", calls=b"x", tokens=1, now=float(turn))
        assert not loops.answered("u.1", f"s{turn}", calls=b"x", tokens=1, now=float(turn))


def test_a_pace_that_no_work_has_is_one_too() -> None:
    loops = Loops(Patience(tokens_per_minute=100_000))
    said = [
        loops.answered("t.1", "s", calls=b"", tokens=20_000, now=turn * 5.0) for turn in range(20)
    ]
    assert any("tokens a minute" in why for why in said)
    slow = Loops(Patience(tokens_per_minute=100_000))
    for turn in range(200):
        assert not slow.answered("t.1", "s", calls=b"", tokens=20_000, now=turn * 13.0)


def test_nothing_is_a_loop_where_patience_has_no_end() -> None:
    loops = Loops(Patience(same_call=0, tokens_per_minute=0))
    for turn in range(500):
        assert not loops.answered("t.1", "s", calls=b"x", tokens=10**7, now=float(turn))
