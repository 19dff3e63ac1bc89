"""A script's TOML file: every key checked, everything wrong with it said at once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from fleet.config import read_plain
from fleet.core import toml
from fleet.core.errors import ConfigError, Problem
from fleet.core.table import Table, did_you_mean, in_order, shown
from fleet.proxy.dialects.dialect import DialectName
from fleet.proxy.script.rules import (
    Answer,
    Call,
    Condition,
    Cut,
    Rule,
    Script,
    Spend,
    Stop,
    Task,
)

E = TypeVar("E", bound=StrEnum)
Raw = Mapping[str, object]

MOST_TOKENS = 100_000_000
DEFAULT_MODELS = ("script",)
_SAYS = ("text", "tool", "tools", "thinking", "garbage")
_OF_ERRORS = ("error_type", "message", "retry_after")


MOST_PROBLEMS = 1_000  # nobody mends more at once


def load(path: Path, name: str) -> Script:
    """`name` is what problems call the file. ConfigError with all of them."""
    raw = read_plain(path, name)
    if isinstance(raw, Problem):
        raise ConfigError([raw])
    return parse(raw, name)


def parse(raw: bytes, name: str) -> Script:
    document = toml.parse(raw, name)
    if isinstance(document, Problem):
        raise ConfigError([document])
    problems: list[Problem] = []
    top, data = Table(document.data, document, problems), document.data
    names: set[str] = set()
    script = Script(
        rules=tuple(_rule(*entry, names) for entry in _entries(top, data, "rules")),
        tasks=tuple(_task(*entry, names) for entry in _entries(top, data, "tasks")),
        models=_models(top, data),
    )
    top.finish()
    if problems:
        raise ConfigError(in_order(problems))
    return script


def _entries(table: Table, raw: Raw, key: str) -> Iterator[tuple[Table, Raw, int]]:
    """The tables of an array that may be missing, with their raw values and numbers from 1."""
    if key not in raw:
        table.texts(key)  # so that it is known
        return
    items = raw[key]
    inner = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    for number, pair in enumerate(zip(table.tables(key), inner, strict=True), 1):
        yield *pair, number
        if len(table.problems) > MOST_PROBLEMS:
            return


def _models(top: Table, data: Raw) -> tuple[str, ...]:
    given = data.get("models")
    if isinstance(given, list) and any(isinstance(item, dict) for item in given):
        found = []
        for table, _, _ in _entries(top, data, "models"):
            found.append(table.text("id", required=True, limit=200))
            table.finish()
        return tuple(found)
    return top.texts("models", DEFAULT_MODELS)


def _rule(table: Table, raw: Raw, number: int, names: set[str]) -> Rule:
    name = _name(table, f"rule {number}", names)
    condition = Condition(
        when=_pattern(table, "when"),
        when_result=_pattern(table, "when_result"),
        prompt=_pattern(table, "prompt"),
        turn=table.integer("turn", 0, low=1),
        model=table.text("model", limit=200),
        dialect=_one_of(table, "dialect", DialectName),
    )
    rule = Rule(name, condition, _answer(table, raw), table.integer("times", 0, low=1))
    table.finish()
    return rule


def _task(table: Table, raw: Raw, number: int, names: set[str]) -> Task:
    name = _name(table, f"task {number}", names)
    table.text("prompt", required=True)
    condition = Condition(
        prompt=_pattern(table, "prompt"),
        model=table.text("model", limit=200),
        dialect=_one_of(table, "dialect", DialectName),
    )
    steps = []
    if "steps" not in raw:
        table.report("steps", "steps is missing", 'such as steps = [{ text = "Done." }]')
    for inner, inner_raw, _ in _entries(table, raw, "steps"):
        steps.append(_answer(inner, inner_raw))
        inner.finish()
    table.finish()
    return Task(name, condition, tuple(steps))


def _name(table: Table, usual: str, names: set[str]) -> str:
    name = table.text("name", usual, limit=200)
    if name in names:
        table.report("name", f"the name {shown(name)} is given twice", "calls are counted by it")
    names.add(name)
    return name


def _pattern(table: Table, key: str) -> re.Pattern[str] | None:
    written = table.text(key, limit=10_000)
    if not written:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # that a later Python may read it otherwise
            return re.compile(written)
    except (re.error, RecursionError, OverflowError) as error:
        what = f"{key} is no regular expression: {error}"
        table.report(key, what, "put a \\ before what is meant literally, in single quotes")
        return None


def _one_of(table: Table, key: str, kind: type[E]) -> E | None:
    """The member that is named; None if none is."""
    written = table.text(key)
    known = [member.value for member in kind]
    if not written or written in known:
        return kind(written) if written else None
    table.report(key, f"{key} is {shown(written)}", did_you_mean(written, known))
    return None


# -- what is said -------------------------------------------------------------------------------


def _answer(table: Table, raw: Raw) -> Answer:
    _check(table, raw)
    return Answer(
        text=table.text("text"),
        thinking=table.text("thinking"),
        calls=_calls(table, raw),
        stop=_one_of(table, "stop", Stop),
        spend=_spend(table, raw),
        pieces=table.integer("pieces", 0, low=1, high=100_000),
        chars_per_piece=table.integer("chars_per_piece", Answer().chars_per_piece, low=1),
        delay_s=table.seconds("delay", 0.0, zero=True),
        pace_s=table.seconds("pace", 0.0, zero=True),
        error=table.integer("error", 0, low=400, high=599),
        error_type=table.text("error_type", limit=200),
        message=table.text("message"),
        retry_after_s=table.seconds("retry_after", 0.0, zero=True),
        cut=table.choice("cut", Cut.NEVER),
        stall_s=table.seconds("stall", 0.0, zero=True),
        garbage=table.boolean("garbage", default=False),
    )


def _check(table: Table, raw: Raw) -> None:
    """What can be read key by key, but not together."""
    said = [key for key in _SAYS if key in raw]
    if "error" in raw and said:
        table.report("error", f"error and {said[0]}: only one can be the answer", "take one out")
    if not said and not raw.keys() & {"error", "cut", "stall"}:
        table.report("", "nothing is said here", 'add text = "…", tool = "…" or error = 529')
    for key in _OF_ERRORS:
        if key in raw and "error" not in raw:
            table.report(key, f"{key} needs error", "such as error = 529")
    for one, other in (("tool", "tools"), ("pieces", "chars_per_piece")):
        if one in raw and other in raw:
            table.report(other, f"{one} and {other}: one says it all", "take one out")
    if "input" in raw and "tool" not in raw:
        table.report("input", "input needs tool", 'such as tool = "bash"')


def _calls(table: Table, raw: Raw) -> tuple[Call, ...]:
    calls = []
    if "tool" in raw:
        calls.append(_call(table, raw))
    for inner, inner_raw, _ in _entries(table, raw, "tools"):
        calls.append(_call(inner, inner_raw))
        inner.finish()
    return tuple(calls)


def _call(table: Table, raw: Raw) -> Call:
    name = table.text("tool", required=True, limit=200)
    table.table("input")  # says so when it is no table
    given = raw.get("input")
    arguments = given if isinstance(given, dict) else {}
    if not _is_json(arguments):
        table.report("input", "input has a date or a time in it, or nan", "write it as a text")
    return Call(name, arguments)


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, float):
        return value - value == 0  # neither nan nor an infinity
    return isinstance(value, str | int)


def _spend(table: Table, raw: Raw) -> Spend:
    usage = table.table("usage")
    given = raw.get("usage")
    keys = given.keys() if isinstance(given, dict) else ()
    count = {
        key: usage.integer(key, 0, high=MOST_TOKENS)
        for key in ("input", "output", "cache_read", "cache_write")
    }
    usage.finish()
    return Spend(
        input=count["input"] if "input" in keys else None,
        output=count["output"] if "output" in keys else None,
        cache_read=count["cache_read"],
        cache_write=count["cache_write"],
    )
