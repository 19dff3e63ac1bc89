from __future__ import annotations

import subprocess
import sys

from fleet.proxy.affinity import ranked

SESSIONS = [f"session-{number}".encode() for number in range(4000)]
NAMES = ["anthropic-1", "anthropic-2", "backup", "eu", "llama"]


def test_sessions_spread_evenly() -> None:
    counts = [0] * len(NAMES)
    for session in SESSIONS:
        counts[ranked(session, NAMES)[0]] += 1
    expected = len(SESSIONS) / len(NAMES)
    chi_square = sum((count - expected) ** 2 / expected for count in counts)
    assert chi_square < 18.5  # 99.9 % of even spreads are below, with 4 degrees of freedom


def test_when_a_name_goes_only_its_sessions_move_and_to_all_others() -> None:
    fewer = [name for name in NAMES if name != "backup"]
    moved_to: dict[str, int] = {}
    for session in SESSIONS:
        before, after = NAMES[ranked(session, NAMES)[0]], fewer[ranked(session, fewer)[0]]
        if before == "backup":
            moved_to[after] = moved_to.get(after, 0) + 1
        else:
            assert after == before
    assert abs(sum(moved_to.values()) - len(SESSIONS) / len(NAMES)) < 120
    assert all(moved_to[name] > 130 for name in fewer)


def test_the_order_of_names_does_not_matter() -> None:
    backwards = NAMES[::-1]
    for session in SESSIONS[:200]:
        assert NAMES[ranked(session, NAMES)[0]] == backwards[ranked(session, backwards)[0]]


def test_the_second_best_is_where_a_session_goes_without_the_best() -> None:
    for session in SESSIONS[:200]:
        best, second, *_ = ranked(session, NAMES)
        assert best == ranked(session, NAMES)[0]
        fewer = [name for name in NAMES if name != NAMES[best]]
        assert fewer[ranked(session, fewer)[0]] == NAMES[second]


def test_every_process_picks_the_same() -> None:
    program = (
        "from fleet.proxy.affinity import ranked\n"
        f"print([ranked(b'%d' % n, {NAMES!r})[0] for n in range(50)])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert run.stdout.strip() == str([ranked(b"%d" % number, NAMES)[0] for number in range(50)])


def test_a_name_may_be_long() -> None:
    assert ranked(b"session", ["n" * 500])[0] == 0
