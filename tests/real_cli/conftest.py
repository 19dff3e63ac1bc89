from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Repository
from tests.real_cli.clis import a_repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return a_repository(tmp_path)
