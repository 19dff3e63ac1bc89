"""One table of a person's file, read key by key; everything wrong with it is collected. Pure.

A reader method answers with its default when the value is missing or wrong, so that one pass
finds every problem. `finish` names the keys nobody asked for. A bool is no number here.
"""

from __future__ import annotations

import difflib
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from fleet.core.errors import Problem
from fleet.core.toml import Document, KeyPath

D = TypeVar("D")
E = TypeVar("E", bound=StrEnum)

DAY_S = 86_400.0
LONGEST_S = 7 * DAY_S
ADVISED = 200  # problems that get advice which takes time to find
MAX_TEXT = 256 * 1024  # bytes
_DURATION = re.compile(
    r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9}(?:\.[0-9]{1,6})?)s)?"
)
_UNITS_S = (DAY_S, 3600.0, 60.0, 1.0)
_DURATION_FIX = 'write seconds or a text such as "90s", "30m" or "1h30m"'


class Loose(str):
    """A value from the environment: a text that may stand for another type."""

    __slots__ = ()

    def typed(self) -> object:
        try:
            return tomllib.loads(f"x = {self}")["x"]
        except (ValueError, RecursionError):
            return str(self)


Overrides = Mapping[str, tuple[str, Loose]]  # of a key: the variable it came from, and its value


class Table:
    """`path` is where the table stands in its document; all tables of a file share `problems`."""

    def __init__(
        self,
        data: Mapping[str, object],
        document: Document,
        problems: list[Problem],
        path: KeyPath = (),
        overrides: Overrides | None = None,
    ) -> None:
        self._overrides = overrides or {}
        given = {key: value for key, (_, value) in self._overrides.items()}
        self._data = {**data, **given} if given else data
        self._document, self._path = document, path
        self._asked: set[str] = set()
        self.problems = problems

    def text(
        self, key: str, default: str = "", *, required: bool = False, limit: int = MAX_TEXT
    ) -> str:
        value = self._take(key, str, "a text", f'write {key} = "…"')
        if not isinstance(value, str):
            if required and key not in self._data:
                self.report(key, f"{key} is missing", f'add {key} = "…"')
            return default
        wrong = _wrong_text(value, limit)
        if required and not value.strip():
            wrong = "is empty", "say something"
        if wrong[0]:
            self.report(key, f"{key} {wrong[0]}", wrong[1])
            return default
        return str(value)

    def integer(self, key: str, default: int, *, low: int = 0, high: int = 10**9) -> int:
        value = self._take(key, int, "a whole number", f"write {key} = {default}")
        if not isinstance(value, int):
            return default
        if not low <= value <= high:
            self._out_of_range(key, value, f"{low:,} to {high:,}")
            return default
        return value

    def number(self, key: str, default: D, *, high: float = 1e9, zero: bool = False) -> D | float:
        """A finite number above 0, or from it."""
        value = self._take(key, (int, float), "a number", f"write {key} = 1.5")
        if not isinstance(value, (int, float)):
            return default
        if not (0 < value <= high or (zero and value == 0)):  # nan fails all
            self._out_of_range(key, value, f"{'0' if zero else 'above 0,'} to {high:,.0f}")
            return default
        return float(value)

    def seconds(
        self, key: str, default: D, *, high: float = LONGEST_S, zero: bool = False
    ) -> D | float:
        """A length of time above 0, or from it: a number of seconds, or a text such as "1h30m"."""
        value = self._take(key, (int, float, str), "a length of time", _DURATION_FIX)
        if not isinstance(value, (int, float, str)):
            return default
        length = _duration(value) if isinstance(value, str) else value
        if length is None:
            self._mismatch(key, value, "a length of time", _DURATION_FIX)
            return default
        if not 0 <= length <= high or (not length and not zero):
            limit = f"{high / DAY_S:g} days" if high >= DAY_S else f"{high:g} seconds"
            self._out_of_range(key, value, f"0 to {limit}" if zero else f"above 0, to {limit}")
            return default
        return float(length)

    def boolean(self, key: str, *, default: bool) -> bool:
        value = self._take(key, bool, "true or false", f"write {key} = {str(default).lower()}")
        return value if isinstance(value, bool) else default

    def choice(self, key: str, default: E) -> E:
        """One of the values of the default's enum."""
        value = self.text(key, default)
        if value == default:
            return default
        allowed = [str(member) for member in type(default)]
        if value in allowed:
            return type(default)(value)
        self.report(key, f"{key} is {shown(value)}", did_you_mean(value, allowed))
        return default

    def texts(
        self,
        key: str,
        default: tuple[str, ...] = (),
        *,
        wrong: Callable[[str], str] = lambda _: "",
    ) -> tuple[str, ...]:
        """A list of texts that are not empty. `wrong` says what else is the matter with one."""
        value = self._take(key, list, "a list of texts", f'write {key} = ["…"]')
        if not isinstance(value, list):
            return default
        found = []
        for number, item in enumerate(value, 1):
            trouble = "is no text" if not isinstance(item, str) else _wrong_text(item, MAX_TEXT)[0]
            trouble = trouble or ("is empty" if not item.strip() else wrong(item))
            if trouble:
                self.report(
                    key,
                    f"{key}: item {number}, {shown(item)}, {trouble}",
                    "mend it, or take it out",
                )
            else:
                found.append(item)
        return tuple(found)

    def commands(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Command lines, which no shell will see."""
        return self.texts(key, default, wrong=_wrong_command)

    def integers(self, key: str, *, low: int, high: int) -> tuple[int, ...] | None:
        """A list of whole numbers that is not empty; None if there is none."""
        value = self._take(key, list, "a list of whole numbers", f"write {key} = [0]")
        if not isinstance(value, list):
            return None
        good = [item for item in value if type(item) is int and low <= item <= high]
        if not value or len(good) < len(value):
            fix = f"write one or more numbers from {low} to {high}, or leave it out"
            self.report(key, f"{key} has other things in it, or nothing", fix)
        return tuple(good)

    def mapping(self, key: str, *, wrong: Callable[[str], str]) -> Mapping[str, str]:
        """A table of texts. `wrong` says what is the matter with a name."""
        inner = self.table(key)
        for name in inner._data:
            if trouble := wrong(name):
                inner.report(name, f"{key}: {shown(name)} {trouble}", "mend it, or take it out")
        return {name: inner.text(name) for name in inner._data}

    def table(self, key: str, overrides: Overrides | None = None) -> Table:
        value = self._take(key, dict, "a table", f"write it as [{key}]")
        data = value if isinstance(value, dict) else {}
        return Table(data, self._document, self.problems, (*self._path, key), overrides)

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that are there, where they are a person's to choose."""
        self._asked.update(self._data)
        return tuple(self._data)

    def tables(self, key: str, *, optional: bool = False) -> tuple[Table, ...]:
        """An array of tables."""
        fix = f"write each as [[{key}]]"
        if key not in self._data and not optional:
            self.report(key, f"there is no {key}", f"write {key} = [] if there are none yet")
        value = self._take(key, list, "an array of tables", fix)
        if not isinstance(value, list):
            return ()
        found = []
        for number, item in enumerate(value):
            if isinstance(item, dict):
                path = (*self._path, key, number)
                found.append(Table(item, self._document, self.problems, path))
            else:
                self.report(key, f"item {number + 1} of {key}, {shown(item)}, is no table", fix)
        return tuple(found)

    @property
    def place(self) -> str:
        return self._document.where(self._path)

    def where(self, key: str) -> str:
        if key in self._overrides:
            return self._overrides[key][0]
        return self._document.where((*self._path, key))

    def report(self, key: str, what: str, fix: str) -> None:
        self.problems.append(Problem(where=self.where(key), what=what, fix=fix))

    def finish(self, *, called: str = "key") -> None:
        """Every key that nobody asked for is a problem: a typo must not vanish silently."""
        for key in self._data:
            if key not in self._asked:
                fix = did_you_mean(key, self._asked) if len(self.problems) < ADVISED else ""
                self.report(key, f"unknown {called} {shown(key)}", fix)

    def _take(
        self, key: str, kinds: type | tuple[type, ...], wanted: str, fix: str
    ) -> object | None:
        """The value; None if it is missing, or of another kind and reported."""
        self._asked.add(key)
        value = self._data.get(key)
        if value is None:
            return None
        if isinstance(value, Loose) and kinds is not str:
            value = value.typed()
            if kinds is list and not isinstance(value, list):
                value = [str(self._data[key])]  # a variable may give the one item without brackets
        if isinstance(value, kinds) and isinstance(value, bool) == (kinds is bool):
            return value
        self._mismatch(key, value, wanted, fix)
        return None

    def _mismatch(self, key: str, value: object, wanted: str, fix: str) -> None:
        self.report(key, f"{key} must be {wanted}, not {shown(value)}", fix)

    def _out_of_range(self, key: str, value: object, allowed: str) -> None:
        self.report(key, f"{key} is {shown(value)}", f"allowed: {allowed}")


def shown(value: object) -> str:
    """A value in a message: short, on one line, safe on a terminal."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return "a huge number"  # repr refuses more than 4,300 digits
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 80 else f"{text[:76]}…{text[-1]}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words, or all of them if they are few."""
    names = sorted(str(name) for name in known)
    near = difflib.get_close_matches(word[:80], names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names[:20])}" if names else ""


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """By file, then by line; each once."""

    def place(problem: Problem) -> tuple[str, int]:
        name, _, line = problem.where.rpartition(":")
        return (name, int(line)) if line.isdigit() else (problem.where, 0)

    return tuple(sorted(dict.fromkeys(problems), key=place))


def _wrong_text(value: str, limit: int) -> tuple[str, str]:
    """What is the matter with a text, and what to do about it; ("", "") if nothing is."""
    if "\0" in value:
        return "has a NUL character", "take it out: no program could be given it"
    size = len(value.encode("utf-8", "surrogateescape")) if len(value) * 4 > limit else 0
    if size > limit:
        return f"has {size:,} bytes; at most {limit:,} are allowed", "shorten it"
    return "", ""


def _wrong_command(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError as error:
        return f"cannot be split into words ({error})"
    return "" if words else "is empty"


def _duration(text: str) -> float | None:
    found = _DURATION.fullmatch(text) if text else None
    if found is None:
        return None
    return sum(float(part or 0) * unit for part, unit in zip(found.groups(), _UNITS_S, strict=True))
