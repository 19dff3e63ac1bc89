"""The page about scripts says what is true."""

from __future__ import annotations

import re
from pathlib import Path

from fleet.proxy.script import parse
from fleet.proxy.script.rules import Cut, Stop
from tests.proxy.script.asking import ask, question, script
from tests.proxy.script.folding import said
from tests.proxy.script.test_tables import ALL_KEYS

PAGE = (Path(__file__).parents[3] / "docs" / "script.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_every_example_is_a_script() -> None:
    scripts = [block for block in BLOCKS if "[proxy." not in block]
    assert len(scripts) == 2
    for block in scripts:
        parse(block.encode(), "model.toml")


def test_every_key_is_explained() -> None:
    keys = set(re.findall(r"^(\w+) = ", ALL_KEYS, re.MULTILINE)) - {"command"}
    assert len(keys) > 25
    assert [key for key in sorted(keys) if f"`{key}" not in PAGE] == []
    for word in (*Stop, *(cut for cut in Cut if cut is not Cut.NEVER)):
        assert f'`"{word}"`' in PAGE
    assert "[[models]]" in PAGE


def test_the_example_fixes_the_bug_in_two_turns() -> None:
    upstream = script(next(block for block in BLOCKS if "off by one in" in block))
    prompt = "There is an off by one in src/sum.py: mend it"
    first, second = ask(
        upstream,
        question("anthropic", prompt),
        question("anthropic", prompt, history=(("sed", ""),)),
    )
    command = said("anthropic", first.json).calls[0][1]["command"]
    assert command == "sed -i 's/range(n)/range(n + 1)/' src/sum.py"
    assert said("anthropic", second.json).text.startswith("Fixed src/sum.py")
