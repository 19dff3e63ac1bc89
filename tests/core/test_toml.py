from __future__ import annotations

import time
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.core.errors import Problem
from fleet.core.toml import MAX_BYTES, Document, parse

HONEST = b"""\
# comment with [[brackets]] and a "quote
top = 1

[[tasks]]
id = "a"        # = "b"
prompt = \"\"\"
[[tasks]]
id = "not a key"
\"\"\"
paths = ["x", # ] "
  'y']

[[tasks]]
"id" = 'b'
meta = { deep.er = [1, 2], n = 1.5 }

[tasks.sub]
key.inner = true

[[tasks]]
id = "c"
"""

BOMBS = {
    "too big": b'a = "' + b"x" * MAX_BYTES + b'"',
    "20 MB": b'a = "' + b"x" * 20_000_000 + b'"',
    "one dotted key": b".".join([b"a"] * 20_000) + b" = 1",
    "a quoted dotted key": b" . ".join([b'"a.b"'] * 9_000) + b" = 1",
    "a dotted header": b"[" + b".".join([b"'a'"] * 20_000) + b"]",
    "a dotted array header": b"[[" + b".".join([b"a"] * 20_000) + b"]]",
    "a dotted key in a table": b"x = { " + b".".join([b"a"] * 20_000) + b" = 1 }",
    "a dotted key deep inside": b"x = [[{ y = {" + b".".join([b"a"] * 20_000) + b" = 1 }}]]",
    "dotted keys": b"".join(b"a%d.b.c.d.e.f.g.h = 1\n" % n for n in range(40_000)),
    "dotted headers": b"".join(b"[a%d.b.c.d.e.f.g.h]\n" % n for n in range(40_000)),
    "dotted keys in a table": b"x={" + b",".join(b"a%d.b.c=1" % n for n in range(70_000)) + b"}",
    "arrays": b"a = " + b"[" * 100_000,
    "closed arrays": b"a = " + b"[" * 33 + b"]" * 33,
    "inline tables": b"a = " + b"{a=" * 100_000,
    "a long number": b"\n\na = " + b"1" * 5_000,
    "NUL": b"a = 1\n\0",
    "not UTF-8": b"a = 1\nb = '\xff'",
    "UTF-16": "a = 1".encode("utf-16"),
    "byte-order mark": b"\xef\xbb\xbfa = 1",
}


@pytest.mark.parametrize("raw", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_refused_at_once(raw: bytes) -> None:
    began = time.perf_counter()
    found = parse(raw, "x.toml")
    took = time.perf_counter() - began
    assert isinstance(found, Problem)
    assert found.where.startswith("x.toml:")
    assert found.fix
    assert took < 0.5


@pytest.mark.parametrize(
    ("raw", "where", "word"),
    [
        (b"a = 1\nb = \n", "x.toml:2", "Invalid value (column 5)"),
        (b"a = 1\nb = 'x", "x.toml:2", "Expected"),
        (b'a = """\n\n\n', "x.toml:1", "Unterminated"),
        (b'a = 1\nb = [1,\n\n"x"', "x.toml:2", "Unclosed array"),
        (b"a = 1\na = 2\n", "x.toml:2", "overwrite"),
        (b"a = 1\rb = 2", "x.toml:1", "newline"),
        (b"# a\rb", "x.toml:1", "invalid character"),
        (b"tasks = []\n[[tasks]]\n", "x.toml:2", "namespace"),
        (b"a = 1\n\nb\0", "x.toml:3", "NUL"),
        (b"a = 1\n\nb = \xe4", "x.toml:3", "0xe4"),
        (b"\n\na = " + b"1" * 5_000, "x.toml:3", "digits"),
        (b"x = 1\ny = " + b"[" * 33, "x.toml:2", "32 deep"),
        (b"x = 1\ny = [\n{" + b"a." * 9 + b"a = 1}]", "x.toml:3", "8 dots"),
        (b"\xf0\x9f\xa6\x80 = 1", "x.toml:1", "Invalid statement"),
    ],
)
def test_a_problem_says_where_it_is(raw: bytes, where: str, word: str) -> None:
    found = parse(raw, "x.toml")
    assert isinstance(found, Problem)
    assert found.where == where
    assert word in found.what


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_every_key_has_its_line(newline: bytes) -> None:
    found = parse(HONEST.replace(b"\n", newline), "x.toml")
    assert isinstance(found, Document)
    lines = {
        ("top",): 2,
        ("tasks",): 4,
        ("tasks", 0): 4,
        ("tasks", 0, "id"): 5,
        ("tasks", 0, "prompt"): 6,
        ("tasks", 0, "paths"): 10,
        ("tasks", 1): 13,
        ("tasks", 1, "id"): 14,
        ("tasks", 1, "meta"): 15,
        ("tasks", 1, "meta", "n"): 15,  # inside its table
        ("tasks", 1, "sub"): 17,
        ("tasks", 1, "sub", "key", "inner"): 18,
        ("tasks", 2): 20,
        ("tasks", 2, "missing"): 20,
        ("nothing",): 1,
    }
    assert {path: found.line(path) for path in lines} == lines


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"tasks = []",
        b"a = " + b"[" * 32 + b"]" * 32,
        b".".join([b"a"] * 9) + b" = 1",
        b'a = "' + b"." * 50_000 + b'"',
        b"a = '" + b"[" * 50_000 + b"'",
        b"# " + b"[." * 50_000,
        b'a = """' + b'["' * 1_000 + b'"""',
        b"a = '''''x'''''",
        b'a = """""x"""""\nb = """\\"""[[[["""',
        b"a = [" + b"1.5, " * 20_000 + b"]",
        b"a = 1979-05-27 07:32:00.5",
    ],
)
def test_honest_text_passes(raw: bytes) -> None:
    assert isinstance(parse(raw, "x.toml"), Document)


def test_a_mebibyte_of_honest_text_is_read_quickly() -> None:
    raw = b"".join(b'[[tasks]]\nid = "t-%d"\nprompt = "do it"\n\n' % n for n in range(20_000))
    began = time.perf_counter()
    found = parse(raw, "x.toml")
    assert time.perf_counter() - began < 5
    assert isinstance(found, Document)
    assert found.line(("tasks", 19_999)) == 4 * 19_999 + 1


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_refused_or_read_and_nothing_else_happens(data: st.DataObject) -> None:
    raw = bytearray(HONEST)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        scrap = data.draw(
            st.one_of(
                st.binary(max_size=3), st.sampled_from([b'"""', b"'", b"[[", b".", b"\r", b"{"])
            )
        )
        raw[at : at + data.draw(st.integers(0, 3))] = scrap
    found = parse(bytes(raw), "x.toml")
    assert isinstance(found, Document | Problem)
    if isinstance(found, Document):
        last = raw.replace(b"\r\n", b"\n").count(b"\n") + 1
        assert all(1 <= line <= last for line in found.lines.values())
        assert set(found.data) <= {path[0] for path in found.lines}


SCRAPS = st.sampled_from(
    [
        "a",
        "b.c",
        "=",
        "1",
        " ",
        "\n",
        "\r\n",
        "\r",
        '"',
        "'",
        '"""',
        "'''",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        ",",
        "#",
        "\\",
        ".",
        "é",
        "[a]\n",
        "[[t]]\n",
        "a = ",
        'k = """x"y""""\n',
        "nan",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(SCRAPS, max_size=12).map("".join))
def test_short_texts_are_read_exactly_when_tomllib_reads_them(text: str) -> None:
    try:
        wanted = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert isinstance(parse(text.encode(), "x.toml"), Problem)
    else:
        found = parse(text.encode(), "x.toml")
        assert isinstance(found, Document)
        assert repr(found.data) == repr(wanted)  # nan is not equal to itself
        assert set(wanted) <= {path[0] for path in found.lines}
