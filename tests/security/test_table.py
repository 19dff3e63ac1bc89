"""The table of docs/security.md names what there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_table_names_exists() -> None:
    text = (ROOT / "docs/security.md").read_text()
    file = ""
    named = 0
    for path, name in re.findall(r"`([\w/]+\.py)?(?:::(test_\w+))?`", text):
        if path and (ROOT / "fleet" / path).exists() and not name:
            continue
        file = path or file
        if path:
            assert (ROOT / "tests" / path).is_file(), path
        if name:
            assert f"def {name}(" in (ROOT / "tests" / file).read_text(), (file, name)
            named += 1
    assert named > 30
