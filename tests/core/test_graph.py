from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.core.graph import circles


def test_a_circle_is_named_in_its_order() -> None:
    assert circles({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}) == (("a", "b", "c"),)


def test_the_shortest_circle_of_a_knot_is_named() -> None:
    assert circles({"a": ["b", "c"], "b": ["c"], "c": ["a"]}) == (("a", "c"),)


def test_every_knot_is_found_in_the_order_of_its_nodes() -> None:
    assert circles({"z": ["y"], "b": ["a"], "a": ["b"], "y": ["z"], "s": ["s"]}) == (
        ("z", "y"),
        ("b", "a"),
        ("s",),
    )


def test_unknown_nodes_and_diamonds_make_no_circle() -> None:
    assert circles({"a": ["b", "c", "nowhere"], "b": ["d"], "c": ["d"], "d": []}) == ()


def test_long_chains_and_circles_take_no_stack_and_little_time() -> None:
    long = 10_000
    began = time.perf_counter()
    assert circles({str(n): [str(n + 1)] for n in range(long)}) == ()
    assert circles({str(n): [str(n - 1)] for n in range(long)}) == ()
    assert len(circles({str(n): [str((n + 1) % long)] for n in range(long)})[0]) == long
    assert len(circles({str(n): [str(n ^ 1)] for n in range(long)})) == long // 2
    assert time.perf_counter() - began < 5


NODES = "abcdef"


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(NODES), st.lists(st.sampled_from(NODES), max_size=3)))
def test_a_circle_is_found_exactly_where_one_is(edges: dict[str, list[str]]) -> None:
    found = circles(edges)
    for circle in found:
        for node, following in zip(circle, (*circle[1:], circle[0]), strict=True):
            assert following in edges[node]
    assert {node for circle in found for node in circle} <= _in_circles(edges)
    assert bool(found) is bool(_in_circles(edges))


def _in_circles(edges: dict[str, list[str]]) -> set[str]:
    """The slow way: what can be reached from itself."""
    steps = {(node, other) for node in edges for other in edges[node] if other in edges}
    for _ in edges:
        steps |= {(a, d) for a, b in steps for c, d in steps if b == c}
    return {a for a, b in steps if a == b}
