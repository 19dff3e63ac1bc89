"""How much a tree holds, without walking it: ten folders that each name the next one ten times are
a gigabyte of paths in a kilobyte of objects, and a recursive listing of them would never end.

Each tree is read once, however often it is named, one git process for each level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleet.repo.hub import Hub

MAX_PATHS = 200_000  # new or changed ones
MAX_DEPTH = 200
_TREE = b"40000"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """The entries of one tree."""

    files: frozenset[bytes]  # as they stand in it
    folders: Mapping[bytes, str]  # name -> tree


_NOTHING = _Level(files=frozenset(), folders={})
_Pair = tuple[str, str]  # what is at one path before and after; "" is nothing


def excess(hub: Hub, old_tree: str, new_tree: str) -> str:
    """Why the difference between two trees is too much to look at; "" when it is not."""
    levels = {"": _NOTHING}
    below: dict[_Pair, tuple[_Pair, ...]] = {}
    pairs = {(old_tree, new_tree)}
    for _ in range(MAX_DEPTH):
        pairs = {(old, new) for old, new in pairs if old != new and (old, new) not in below}
        if not pairs:
            paths = _count(levels, below, (old_tree, new_tree), {})
            most = f"the most that is taken is {MAX_PATHS}"
            return f"it changes {paths} paths; {most}" if paths > MAX_PATHS else ""
        wanted = {tree for pair in pairs for tree in pair if tree not in levels}
        levels |= _read(hub, sorted(wanted))
        below |= {(old, new): _pairs(levels[old], levels[new]) for old, new in pairs}
        pairs = {pair for old_new in pairs for pair in below[old_new]}
    return f"its folders are nested more than {MAX_DEPTH} deep"


def _pairs(old: _Level, new: _Level) -> tuple[_Pair, ...]:
    return tuple((old.folders.get(name, ""), tree) for name, tree in new.folders.items())


def _count(
    levels: Mapping[str, _Level],
    below: Mapping[_Pair, tuple[_Pair, ...]],
    pair: _Pair,
    known: dict[_Pair, int],
) -> int:
    old, new = pair
    if old == new:
        return 0
    if pair not in known:
        here = len(levels[new].files - levels[old].files)
        known[pair] = here + sum(_count(levels, below, each, known) for each in below[pair])
    return known[pair]


def _read(hub: Hub, trees: list[str]) -> dict[str, _Level]:
    """Trees by `cat-file --batch`: a line with name, kind and size, the content, a line feed."""
    out = hub.git.run("cat-file", "--batch", stdin="".join(f"{t}\n" for t in trees).encode()).out
    found, at = {}, 0
    for tree in trees:
        end = out.index(b"\n", at)
        size = int(out[at:end].rsplit(b" ", 1)[1])
        found[tree] = _parse(out[end + 1 : end + 1 + size], len(tree) // 2)
        at = end + 2 + size
    return found


def _parse(content: bytes, sha_bytes: int) -> _Level:
    files, folders, at = [], {}, 0
    while at < len(content):
        zero = content.index(b"\0", at)
        mode, _, name = content[at:zero].partition(b" ")
        end = zero + 1 + sha_bytes
        if mode == _TREE:
            folders[name] = content[zero + 1 : end].hex()
        else:
            files.append(content[at:end])
        at = end
    return _Level(files=frozenset(files), folders=folders)
