"""Circles in what depends on what. Pure, and without recursion: chains may be 10,000 long."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping

Edges = Mapping[str, Collection[str]]  # a node, and what it depends on


def circles(edges: Edges) -> tuple[tuple[str, ...], ...]:
    """One shortest circle of every knot, in the order of `edges`: ("a", "b") is a → b → a.

    Edges to unknown nodes are ignored. All members of a knot reach each other; mending the one
    circle may leave another.
    """
    position = {node: number for number, node in enumerate(edges)}
    found = []
    for knot in _knots(edges):
        first = min(knot, key=position.__getitem__)
        if len(knot) > 1 or first in edges[first]:
            found.append(_shortest(first, edges, knot))
    return tuple(sorted(found, key=lambda circle: position[circle[0]]))


def _knots(edges: Edges) -> Iterator[set[str]]:
    """Strongly connected components, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: list[str] = []
    is_open: set[str] = set()
    for root in edges:
        if root in index:
            continue
        walk = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        open_nodes.append(root)
        is_open.add(root)
        while walk:
            node, rest = walk[-1]
            following = next((other for other in rest if other in edges), None)
            if following is None:
                walk.pop()
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[node])
                if low[node] == index[node]:
                    yield _close(node, open_nodes, is_open)
            elif following not in index:
                index[following] = low[following] = len(index)
                open_nodes.append(following)
                is_open.add(following)
                walk.append((following, iter(edges[following])))
            elif following in is_open:
                low[node] = min(low[node], index[following])


def _close(node: str, open_nodes: list[str], is_open: set[str]) -> set[str]:
    knot: set[str] = set()
    while node not in knot:
        knot.add(open_nodes.pop())
    is_open -= knot
    return knot


def _shortest(start: str, edges: Edges, knot: set[str]) -> tuple[str, ...]:
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for other in edges[node]:
            if other == start:
                path = [node]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return tuple(reversed(path))
            if other in knot and other not in came_from:
                came_from[other] = node
                queue.append(other)
    raise AssertionError(f"{start} is in no circle")
