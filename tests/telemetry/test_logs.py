from __future__ import annotations

import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.telemetry import logs
from fleet.telemetry.redaction import REMOVED, redactor

KEY = "a-key-without-any-shape-at-all"
SHAPES = [
    "sk-ant-api03-AbCdEf0123456789_-AbCdEf",
    "sk-proj-0123456789abcdefABCDEF",
    "AIzaSyA0123456789-abcdefghijklmnopqrstuv",
    "ghp_0123456789abcdefghijABCDEFGHIJ",
    "github_pat_11ABCDEFG0_abcdefghijklmnop",
    "xoxb-123456789012-abcdefghij",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "Bearer 0123456789abcdef",
    "zK3v_-9QmW1xYt7LpR2sUa4BcD5eFg6HiJ7kLm8NoP9",
]
INNOCENT = [
    "landed 4f1c0a9be2d35f6478c1b0aa9922cd1fe0a7b3c5 on main",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "/home/me/.cache/fleet/project-0123456789ab/fix-the-parser.3/work/src/module.py",
    "task fix-the-parser-that-has-such-a-long-name-2 ended: rejected",
    "listening on 127.0.0.1:8123, asking https://api.anthropic.com/v1/messages",
    "NotImplementedError: this is a rather ordinary sentence about tokens and keys",
]


@pytest.fixture(autouse=True)
def _own_root() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in [one for one in root.handlers if one not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


@pytest.mark.parametrize("secret", SHAPES)
def test_what_looks_like_a_secret_is_struck_out(secret: str) -> None:
    said = redactor(())(f"refused {secret}, asked again")
    assert secret not in said
    assert REMOVED in said
    assert said.endswith(", asked again")


@pytest.mark.parametrize("text", INNOCENT)
def test_what_people_need_to_read_is_not(text: str) -> None:
    assert redactor(())(text) == text


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_key_gets_past_any_handler_however_it_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    path = tmp_path / "logs" / "a.log"
    logs.start(path, form=form, role="a", to_stderr=True, secrets=[KEY, "short"])
    log = logging.getLogger("some.library")
    log.warning("with %s and %s", KEY, SHAPES[0])
    log.error({"authorization": f"Bearer {KEY}"})
    try:
        int(f"the key {KEY} is bad: {SHAPES[1]}")
    except ValueError:
        log.exception("it failed with %s", SHAPES[2])
    everything = path.read_text() + capsys.readouterr().err
    assert everything.count(REMOVED) >= 6
    assert not any(secret in everything for secret in (KEY, *SHAPES))


def test_a_message_is_one_line_and_drives_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    logs.start(path, form="text", role="a", to_stderr=False)
    logging.getLogger().warning(
        "model %s", "x\n12:00:00 lander INFO landed everything\x1b[2J\r\x9b\u202e"
    )
    lines = path.read_text().splitlines()
    assert sum(" a WARNING " in line for line in lines) == 1
    assert all(line[0] == " " for line in lines[1:])
    assert not any(char in path.read_text() for char in "\x1b\r\x9b\u202e")


def test_a_message_in_json_is_one_line_too(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    logs.start(path, form="json", role="a", to_stderr=False)
    logging.getLogger().warning("x\n{}\x1b\u2028")
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["message"] == "x\n{}\x1b\u2028"
    assert line.isascii()


def test_logs_are_private_also_those_that_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 500)
    logs.start(tmp_path / "logs" / "a.log", form="text", role="a", to_stderr=False)
    for number in range(60):
        logging.getLogger().warning("message %d", number)
    found = sorted((tmp_path / "logs").iterdir())
    assert len(found) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o600}


def test_a_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    (tmp_path / "a.log").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        logs.start(tmp_path / "a.log", form="text", role="a", to_stderr=False)
