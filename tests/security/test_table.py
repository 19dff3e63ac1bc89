"""The table of docs/security.md names what there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_table_names_exists() -> None:
    named = 0
    for row in (ROOT / "docs/security.md").read_text().splitlines():
        if not row.startswith("| "):
            continue
        cells = row.split(" | ")
        file = ""
        for path, name in re.findall(r"`([\w/]+\.py)?(?:::(test_\w+))?`", cells[-1]):
            file = path or file
            assert (ROOT / "tests" / file).is_file(), file
            if name:
                assert f"def {name}(" in (ROOT / "tests" / file).read_text(), (file, name)
                named += 1
    assert named > 30
