"""Files as nobody would write them: bytes changed, values swapped, and bombs. Replayed by seed."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping, Sequence

import tomli_w

TOKENS = (
    b'"""', b"'''", b"[[", b"]]", b"[", b"]", b"{", b"}", b"=", b".", b",", b"#", b"\n", b"\r\n",
    b"\0", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\u0000", b"\\ud800", b"\\",
    b"nan", b"-inf", b"1e999", b"-1", b"0x7fffffffffffffff", b"9" * 400, b"true", b"1979-05-27",
    b"07:32:00.999999", b"../", b"/etc/passwd", b"~", b"-rf", b"CON", b".lock", b"\x1b[2J",
    "\u202e".encode(), "İ".encode(), b"{prompt}", b"{token}", b"{", b"$", b"`", b"(?P<a>",
    b"(a+)+$", b"null", b"NaN", b"Infinity", b'":', b"**/",
)  # fmt: skip
VALUES: tuple[object, ...] = (
    0, -1, 1, 2**63, -(2**63), 10**400, 0.0, -0.0, float("nan"), float("inf"), 1e308, True, False,
    "", "x", "\0", "\n", "..", "../..", "/", "a/b", "-x", "x.lock", "é", "\u202e", "x" * 300,
    "x" * 70_000, "{prompt}", "{nope}", "{", "30m", "-5s", "1d1d", "99999999d", "**/*", "a*" * 40,
    "(" * 200, "(a+)+$", [], [[]], [[[[[[]]]]]], [""], ["a"] * 300, [1, "a", []], {}, {"": {}},
    {"a": {"b": {"c": 1}}},
)  # fmt: skip


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A file made of one of the seeds, or of two."""
    data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        data = rng.choice(_STEPS)(rng, data, seeds)
    return data


def restructured(rng: random.Random, document: Mapping[str, object]) -> bytes:
    """Some of its values swapped for others, keys renamed, left out or invented; still TOML."""
    changed = _changed(rng, document, 0)
    assert isinstance(changed, dict)
    try:
        return tomli_w.dumps(changed).encode("utf-8", "surrogatepass")
    except (ValueError, TypeError, RecursionError):
        return repr(changed).encode("utf-8", "replace")


def _changed(rng: random.Random, value: object, depth: int) -> object:
    if rng.random() < 0.06 and depth:
        return rng.choice(VALUES)
    if isinstance(value, Mapping):
        found = {}
        for key, inner in value.items():
            chance = rng.random()
            if chance < 0.04:
                continue
            name = f"{key}{rng.choice(string.ascii_lowercase)}" if chance < 0.07 else key
            found[name] = _changed(rng, inner, depth + 1)
        if rng.random() < 0.05:
            found[rng.choice(("", "a.b", "é", "id", "x" * 100))] = rng.choice(VALUES)
        return found
    if isinstance(value, list):
        kept = [_changed(rng, inner, depth + 1) for inner in value if rng.random() > 0.05]
        return kept * rng.choice((1, 1, 1, 1, 2, 30))
    return value


# -- bytes --------------------------------------------------------------------------------------


def _flip(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    if not data:
        return b"\x80"
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _insert(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(TOKENS) * rng.choice((1, 1, 1, 2, 50)) + data[at:]


def _cut(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[end:]


def _truncate(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _repeat(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[start:end] * rng.choice((2, 3, 20)) + data[end:]


def _splice(rng: random.Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = rng.choice(seeds)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _swap_lines(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


def _noise(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.randrange(1, 20)) + data[at:]


_STEPS: tuple[Callable[[random.Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip, _insert, _insert, _cut, _truncate, _repeat, _splice, _swap_lines, _noise,
)  # fmt: skip


# -- bombs: small files that cost much ------------------------------------------------------------


def _tasks(count: int, more: str) -> str:
    return "".join(
        f'[[tasks]]\nid = "t{n}"\nprompt = "p"\n{more.format(n=n)}\n' for n in range(count)
    )


BOMBS: tuple[bytes, ...] = tuple(
    text.encode()
    for text in (
        "a = " + "[" * 30_000,
        "a = " + "[" * 30_000 + "]" * 30_000,
        "a = " + "{a=" * 5_000 + "1" + "}" * 5_000,
        "a" + ".a" * 20_000 + " = 1\n",
        "[" + "a." * 20_000 + "a]\n",
        "".join(f"a.b{n}.c{n}.d{n} = 1\n" for n in range(2_500)),
        "".join(f"[a.b.c{n}]\n" for n in range(5_000)),
        "a = " + "9" * 60_000,
        "a = 0x" + "f" * 60_000,
        "a = 1e" + "9" * 60_000,
        "a = 1." + "9" * 60_000,
        "a = " + "1_" * 30_000 + "1",
        'a = "' + "\\u0041" * 10_000 + '"',
        'a = """' + "\\\n" * 30_000 + '"""',
        "a = '''" + "''a" * 20_000 + "'''",
        "#" * 64_000,
        "#\n" * 32_000,
        "\n" * 64_000,
        " " * 64_000,
        "a = [" + "1," * 30_000 + "]",
        "a = [" + "[]," * 20_000 + "]",
        "[[tasks]]\n" * 6_000,
        "".join(f"k{n} = 1\n" for n in range(6_000)),
        "[[tasks]]\n" + "".join(f"promt{n} = 1\n" for n in range(4_000)),
        _tasks(1_000, 'depends_on = ["t0", "t{n}"]'),
        _tasks(500, 'depends_on = ["x{n}"]'),
        _tasks(400, "id = 1"),
        _tasks(40, "depends_on = [" + '"t1",' * 250 + "]"),
        '[[tasks]]\nid = "a"\nprompt = "p"\npaths = ["' + "**/" * 10_000 + 'a"]\n',
        '[[tasks]]\nid = "a"\nprompt = "p"\npaths = ["' + "*a" * 10_000 + 'b"]\n',
        '[[tasks]]\nid = "a"\nprompt = "p"\ngate = ["' + "\\\\" * 20_000 + '"]\n',
        '[[tasks]]\nid = "a"\nprompt = "p"\ngate = ["' + "' " * 20_000 + '"]\n',
        '[[tasks]]\nid = "' + "A-" * 20_000 + '"\nprompt = "p"\n',
        '[[tasks]]\nid = "a"\nprompt = "' + "p" * 60_000 + '"\ntimeout = "' + "1" * 2_000 + 's"\n',
        '[[rules]]\nwhen = "' + "(" * 9_000 + '"\ntext = "x"\n',
        '[[rules]]\nwhen = "' + "(a|" * 2_000 + ")" * 2_000 + '"\n',
        '[[rules]]\nwhen = "' + "[" * 5_000 + '"\ntext = "x"\n',
        '[[rules]]\nwhen = "' + "a{1,1000}" * 900 + '"\ntext = "x"\n',
        '[[rules]]\nwhen = "' + "x{99999}" * 900 + '"\ntext = "x"\n',
        '[[rules]]\ntext = "' + "{a}" * 9_000 + '"\nwhen = "(?P<a>x)"\n',
        'command = ["' + "{prompt}" * 6_000 + '"]\n',
        'command = ["x"]\n[env]\n' + "".join(f'A{n} = "{{x{n}}}"\n' for n in range(2_000)),
        "[" * 4_000,
        "{" + '"a":[' * 3_000,
        '{"port":1e999,"metrics_port":1,"pid":1,"started":1}',
        '{"port":99999999,"metrics_port":-1,"pid":-1,"started":1}',
        '{"is":"end","nonce":"n","status":Infinity,"finished":1}',
        '{"is":"end","nonce":"n","status":' + "9" * 5_000 + "}",
    )
)
