"""TOML a person wrote: refused early when it is hostile, and with the line of every key. Pure.

`tomllib` (CPython 3.11) takes 5.5 s over one dotted key of 40 kB and runs out of stack on nested
brackets. One regex pass goes over the text before it, skipping strings and comments: it
measures keys and brackets, and notes where every key stands. What passes costs `tomllib` time
linear in its size, at most about 0.9 s for 1 MiB of the worst kind, 0.25 s for 1 MiB of tasks.

Two assumptions keep the pass honest: up to the first error of a text it sees what `tomllib`
sees, and where it cannot go on `tomllib` cannot either.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fleet.core.errors import Problem

KeyPath = tuple[str | int, ...]  # of a key, from the top: ("tasks", 3, "prompt")

MAX_BYTES = 1 << 20
MAX_NESTING = 32
MAX_DOTS = 8  # in one key; `tomllib` takes time by their square
MAX_ALL_DOTS = 8_000  # in all keys: about 50 ms of `tomllib`


@dataclass(frozen=True, slots=True)
class Document:
    """A file that parsed. `name` is what problems call it."""

    name: str
    data: Mapping[str, object]
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """Where a key or the nth header of an array of tables stands, or what it stands in."""
        for end in range(len(path), 0, -1):
            found = self.lines.get(path[:end])
            if found is not None:
                return found
        return 1

    def where(self, path: KeyPath) -> str:
        return f"{self.name}:{self.line(path)}"


def parse(raw: bytes, name: str) -> Document | Problem:
    """The document, or the first thing that is wrong with it."""
    try:
        text = _text_of(raw)
        scan = _Scan(text.replace("\r\n", "\n"))  # as `tomllib` will, once
        lines = scan.run()
    except _RefusedError as refusal:
        return Problem(where=f"{name}:{refusal.line}", what=refusal.what, fix=refusal.fix)
    try:
        return Document(name, tomllib.loads(text), lines)
    except tomllib.TOMLDecodeError as error:
        return _syntax_problem(str(error), name, broken_at=scan.line)
    except (ValueError, RecursionError) as error:  # such as a number of 5,000 digits
        return Problem(
            where=f"{name}:{_long_number_line(text)}",
            what=f"this TOML cannot be read: {str(error)[:60]}",
            fix="no number here needs that many digits",
        )


class _RefusedError(Exception):
    def __init__(self, line: int, what: str, fix: str) -> None:
        super().__init__(what)
        self.line, self.what, self.fix = line, what, fix


def _text_of(raw: bytes) -> str:
    if len(raw) > MAX_BYTES:
        raise _RefusedError(
            1, f"the file has {len(raw):,} bytes; at most {MAX_BYTES:,} are read", "split it"
        )
    if raw.startswith(b"\xef\xbb\xbf"):
        raise _RefusedError(
            1, "the file begins with a byte-order mark", "save it as UTF-8 without one"
        )
    nul = raw.find(b"\0")
    if nul >= 0:
        raise _RefusedError(
            _line_of(raw, nul), "there is a NUL byte here", "save the file as plain UTF-8 text"
        )
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _RefusedError(
            _line_of(raw, error.start),
            f"byte 0x{raw[error.start]:02x} here is not UTF-8",
            "save the file as UTF-8",
        ) from error


def _line_of(raw: bytes, offset: int) -> int:
    return raw.count(b"\n", 0, offset) + 1


# -- the pass before tomllib ----------------------------------------------------------------
# Possessive throughout (`++`, `*+`, `?+`): nothing is ever tried twice, so time is linear.

_STRING = r"""(?!"{3}|'{3})(?:"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+')"""
_PART = rf"(?:[A-Za-z0-9_-]++|{_STRING})"
_DOT = r"[ \t]*+\.[ \t]*+"
_LONG_STRING = (
    r'(?:"""[^"\\]*+(?:(?:\\(?s:.)|"(?!""))[^"\\]*+)*+"{3,5}+'
    r"|'''[^']*+(?:'(?!'')[^']*+)*+'{3,5}+)"
)
_STATEMENT = re.compile(
    rf"(?:[ \t\n]++|\#[^\n]*+)*+(?P<open>\[\[?+[ \t]*+)?+"
    rf"(?P<key>{_PART}(?P<dots>(?:{_DOT}{_PART}){{0,{MAX_DOTS}}}+))(?P<deep>{_DOT})?+[ \t]*+"
    # A header, or a key with, nearly always, a value that ends where its last line does.
    rf"(?:(?P<header>\]\]?+)"
    rf"|(?P<equals>=)(?P<plain>[ \t]*+(?:{_LONG_STRING}|{_STRING}"
    r"|[^\s\"'\[\]{}\#][^\"'\[\]{}\#\n]*+)"
    r"[ \t]*+(?:\#[^\n]*+)?+(?:\n|\Z))?+)?+"
)
_TOKEN = re.compile(  # inside a value with brackets
    rf"[^\"'\#\[\]{{}}.\n]*+(?:(?P<open>[\[{{])|(?P<close>[\]}}])|(?P<end>\n)"
    rf"|(?P<dots>{_DOT}{_PART}(?:{_DOT}{_PART}){{0,{MAX_DOTS - 1}}}+)(?P<deep>{_DOT})?+"
    rf"(?P<equals>[ \t]*+=)?+|{_LONG_STRING}|{_STRING}|\#[^\n]*+)"
)
_SPLIT = re.compile(_PART)
_STRINGS = re.compile(_STRING)


class _Scan:
    """One pass over one text. Raises `_RefusedError`; otherwise yields the lines of its keys."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines: dict[KeyPath, int] = {}
        self._counts: dict[KeyPath, int] = {}  # arrays of tables, and how many each has so far
        self._header: KeyPath = ()
        self._dots = 0
        self.line, self._counted = 1, 0

    def run(self) -> Mapping[KeyPath, int]:
        at = 0
        while found := _STATEMENT.match(self.text, at):
            start, at = found.start("key"), found.end()
            self.line += self.text.count("\n", self._counted, start)
            self._counted = start
            dots = found["dots"]
            if dots:
                self._add_dots(dots, deep=found["deep"] is not None)
            if found["header"]:
                self._enter(self._key(found["key"]), array=found["header"] == "]]")
            elif found["equals"]:
                key = self._key(found["key"])
                self._lines.setdefault(self._header + key, self.line)
                if found["plain"] is None:
                    at = self._skip_value(at)
            else:
                break  # `tomllib` will say what is wrong
        return self._lines

    def _skip_value(self, at: int) -> int:
        """Past a value that has brackets; past the end of the text if it is broken."""
        depth = 0
        while found := _TOKEN.match(self.text, at):
            at = found.end()
            kind = found.lastgroup
            if kind == "open":
                depth += 1
                if depth > MAX_NESTING:
                    raise _RefusedError(
                        self._line_at(at),
                        f"brackets are nested more than {MAX_NESTING} deep",
                        "nothing fleet reads is nested that deep",
                    )
            elif kind == "close":
                depth -= 1
            elif kind == "end":
                if depth <= 0:
                    return at
            elif kind is not None and (found["equals"] or found["deep"]):
                self._line_at(at)
                self._add_dots(found["dots"], deep=found["deep"] is not None)
        return len(self.text)

    def _line_at(self, at: int) -> int:
        self.line += self.text.count("\n", self._counted, at)
        self._counted = at
        return self.line

    def _add_dots(self, dots: str, *, deep: bool) -> None:
        if deep:
            raise _RefusedError(
                self.line, f"a key here has more than {MAX_DOTS} dots", "use shorter keys"
            )
        self._dots += _STRINGS.sub("", dots).count(".")
        if self._dots > MAX_ALL_DOTS:
            raise _RefusedError(
                self.line,
                f"this file has more than {MAX_ALL_DOTS:,} dots in its keys",
                "write tables as [headers], or split the file",
            )

    def _key(self, key: str) -> KeyPath:
        if "." not in key and key[0] not in "\"'":
            return (key,)
        return tuple(_parts(key))

    def _enter(self, key: KeyPath, *, array: bool) -> None:
        path: KeyPath = ()
        for number, part in enumerate(key, 1):
            path = (*path, part)
            if number < len(key) and path in self._counts:
                path = (*path, self._counts[path] - 1)
        if array:
            count = self._counts.get(path, 0)
            self._counts[path] = count + 1
            self._lines.setdefault(path, self.line)
            path = (*path, count)
        elif path in self._counts:
            path = (*path, self._counts[path] - 1)
        self._lines.setdefault(path, self.line)
        self._header = path


def _parts(key: str) -> Iterator[str]:
    for part in _SPLIT.findall(key):
        # A name with escapes stays as it is written: no key of ours has any.
        yield part[1:-1] if part[0] in "\"'" else part


# -- what tomllib says ----------------------------------------------------------------------

_PLACE = re.compile(r" ?\(at (?:line (\d+), column (\d+)|end of document)\)$")
_FIXES = {
    "Cannot overwrite a value": "the same key stands here twice: remove one",
    "Cannot mutate immutable namespace": "write it as `[[…]]` tables or as `… = […]`, not both",
    "Invalid value": 'text needs quotes, as in key = "text"',
    "Unterminated string": "close the quotes",
    "Illegal character": 'text over several lines goes between """ and """',
    "Expected '=' after a key": 'write it as key = "value"',
    "Invalid statement": 'write it as key = "value", or as a [header]',
    "Expected ']": "close the header's brackets, as in [fleet] or [[tasks]]",
    "Unclosed array": "put a comma between the values and a ] after the last",
    "Unescaped '\\' in a string": "write \\\\, or put the text between single quotes",
}
_SYNTAX = "https://toml.io has the syntax"


def _syntax_problem(message: str, name: str, *, broken_at: int) -> Problem:
    found = _PLACE.search(message)
    line, column = (found[1], found[2]) if found else (None, None)
    what = _PLACE.sub("", message)[:160]
    place = f" (column {column})" if column else ""
    return Problem(
        where=f"{name}:{line or broken_at}",
        what=f"not valid TOML: {what}{place}",
        fix=next((fix for start, fix in _FIXES.items() if what.startswith(start)), _SYNTAX),
    )


def _long_number_line(text: str) -> int:
    found = re.search(r"[0-9_]{1000}", text)
    return text.count("\n", 0, found.start()) + 1 if found else 1
