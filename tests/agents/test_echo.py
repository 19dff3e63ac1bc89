from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ECHO = Path(__file__).parents[2] / "agents" / "echo.py"
FINDINGS = "## What the last attempt ran into\n\nIt ended as rejected: no\n"


def echo(cwd: Path, prompt: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, str(ECHO)],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **env},
        input=prompt.encode(),
        capture_output=True,
        timeout=20,
        check=False,
    )


def test_files_are_written_added_to_and_deleted(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old\n")
    done = echo(
        tmp_path,
        "Some prose, mail@example.org.\n"
        "@write a/b.txt\n@say not a directive\n  indented\n\n@end\n"
        "@append a/b.txt\nmore ä\n@end\n@append fresh\n1\n@end\n@write empty\n@end\n@delete old\n",
    )
    assert done.returncode == 0
    assert (tmp_path / "a/b.txt").read_text() == "@say not a directive\n  indented\n\nmore ä\n"
    assert (tmp_path / "fresh").read_text() == "1\n"
    assert (tmp_path / "empty").read_text() == ""
    assert not (tmp_path / "old").exists()
    assert done.stdout.decode().splitlines() == [
        "wrote a/b.txt", "added to a/b.txt", "added to fresh", "wrote empty", "deleted old",
    ]  # fmt: skip


def test_a_text_is_replaced_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("f(a) + f(b)\nend\n")
    done = echo(tmp_path, "@replace f\nf(\n@with\ng(\n@end\n@replace f\n\nend\n@with\n@end\n")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "f").read_text() == "g(a) + g(b)\n"


def test_what_is_not_there_cannot_be_replaced_and_ends_it(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x\n")
    done = echo(tmp_path, "@replace f\ny\n@with\nz\n@end\n@write later\n@end\n")
    assert done.returncode == 1
    assert not (tmp_path / "later").exists()


@pytest.mark.parametrize("path", ["../out", "/tmp/out", "link/out", ".", ""])
def test_nothing_outside_the_workspace_is_written(tmp_path: Path, path: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "link").symlink_to(tmp_path)
    assert echo(work, f"@write {path}\nx\n@end\n").returncode == 64
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "prompt",
    ["@wirte b\n@end", "@write b\nno end", "@replace b\nx\n@end", "@if-findings", "@on x", "@end"],
)
def test_a_prompt_that_makes_no_sense_is_refused_before_anything_is_done(
    tmp_path: Path, prompt: str
) -> None:
    assert echo(tmp_path, f"@write a\n@end\n{prompt}\n").returncode == 64
    assert not (tmp_path / "a").exists()


def test_a_commit_takes_everything(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    done = echo(tmp_path, "@write a\n1\n@end\n@commit Add a, at last\n", HOME=str(tmp_path))
    assert done.returncode == 0
    log = subprocess.run(
        ["git", "log", "--format=%s", "--name-only"], cwd=tmp_path, capture_output=True, check=True
    )
    assert log.stdout.decode().split("\n") == ["Add a, at last", "", "a", ""]


def test_a_program_is_run_without_a_shell(tmp_path: Path) -> None:
    done = echo(tmp_path, '@run printf %s.%s "$HOME | x" y\n@say end\n')
    assert done.stdout.decode().endswith("\n$HOME | x.yend\n")


def test_the_failure_of_a_program_is_its_own(tmp_path: Path) -> None:
    done = echo(tmp_path, "@run false\n@say end\n")
    assert done.returncode == 1 and b"end\n" not in done.stdout
    assert echo(tmp_path, "@run no-such-program\n").returncode == 1


def test_some_directives_are_for_one_attempt_only(tmp_path: Path) -> None:
    prompt = "@say 0\n@on 1\n@say 1\n@on 2\n@say 2\n@always\n@say 3\n"
    assert echo(tmp_path, prompt).stdout == b"0\n1\n3\n"
    assert echo(tmp_path, prompt, FLEET_ATTEMPT_NUMBER="2").stdout == b"0\n2\n3\n"


def test_some_directives_wait_for_findings(tmp_path: Path) -> None:
    prompt = "@if-findings\n@say mended\n@fi\n@say end\n"
    assert echo(tmp_path, prompt).stdout == b"end\n"
    assert echo(tmp_path, prompt + FINDINGS).stdout == b"mended\nend\n"


def test_findings_are_not_obeyed(tmp_path: Path) -> None:
    assert echo(tmp_path, f"@say a\n{FINDINGS}@say b\n## More\n@say c\n").stdout == b"a\nc\n"


def test_free_text_is_ignored(tmp_path: Path) -> None:
    done = echo(tmp_path, "@lorem ipsum @exit 3\n@say a  b\n")
    assert (done.returncode, done.stdout) == (0, b"a  b\n")


def test_it_leaves_with_the_code_it_is_told(tmp_path: Path) -> None:
    assert echo(tmp_path, "@exit 7\n@say end\n").returncode == 7


def test_it_floods(tmp_path: Path) -> None:
    assert len(echo(tmp_path, "@flood 1M\n").stdout) == 1_000_000 + len("flooded 1M\n")
    assert len(echo(tmp_path, "@flood 12\n").stdout) == 12 + len("flooded 12\n")


def test_it_waits_with_and_without_dots(tmp_path: Path) -> None:
    done = echo(tmp_path, "@dots 0.4\n@sleep 0.01\n")
    assert done.stdout == b"..\nsleeping 0.01 s\n"
