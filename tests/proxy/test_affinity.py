from __future__ import annotations

import subprocess
import sys

import pytest

from fleet.proxy.affinity import pick, ranked

SESSIONS = [f"session-{number}".encode() for number in range(4000)]
NAMES = ["anthropic-1", "anthropic-2", "backup", "eu", "llama"]


def test_sessions_spread_evenly() -> None:
    counts = [0] * len(NAMES)
    for session in SESSIONS:
        counts[pick(session, NAMES)] += 1
    expected = len(SESSIONS) / len(NAMES)
    chi_square = sum((count - expected) ** 2 / expected for count in counts)
    assert chi_square < 18.5  # 99.9 % of even spreads are below, with 4 degrees of freedom


def test_when_a_name_goes_only_its_sessions_move_and_to_all_others() -> None:
    fewer = [name for name in NAMES if name != "backup"]
    moved_to: dict[str, int] = {}
    for session in SESSIONS:
        before, after = NAMES[pick(session, NAMES)], fewer[pick(session, fewer)]
        if before == "backup":
            moved_to[after] = moved_to.get(after, 0) + 1
        else:
            assert after == before
    assert abs(sum(moved_to.values()) - len(SESSIONS) / len(NAMES)) < 120
    assert all(moved_to[name] > 130 for name in fewer)


def test_the_order_of_names_does_not_matter() -> None:
    backwards = NAMES[::-1]
    for session in SESSIONS[:200]:
        assert NAMES[pick(session, NAMES)] == backwards[pick(session, backwards)]


def test_the_second_best_is_where_a_session_goes_without_the_best() -> None:
    for session in SESSIONS[:200]:
        best, second, *_ = ranked(session, NAMES)
        assert best == pick(session, NAMES)
        fewer = [name for name in NAMES if name != NAMES[best]]
        assert fewer[pick(session, fewer)] == NAMES[second]


def test_every_process_picks_the_same() -> None:
    program = (
        "from fleet.proxy.affinity import pick\n"
        f"print([pick(b'%d' % n, {NAMES!r}) for n in range(50)])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert run.stdout.strip() == str([pick(b"%d" % number, NAMES) for number in range(50)])


def test_a_name_may_be_long_and_there_must_be_one() -> None:
    assert pick(b"session", ["n" * 500]) == 0
    with pytest.raises(ValueError, match="at least one"):
        pick(b"session", [])
