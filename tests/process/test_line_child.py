from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path

from fleet.process.line_child import LineChild

ECHO = """\
import os, sys
for line in sys.stdin:
    word = line.strip()
    if word == "die":
        os._exit(3)
    if word == "hang":
        import signal
        signal.pause()
    if word == "half":
        sys.stdout.write("half")
        sys.stdout.flush()
        os._exit(0)
    print(os.environ.get(word, word), flush=True)
"""


def a_child(folder: Path, *, idle_s: float = 30.0, answer_s: float = 20.0, **env: str) -> LineChild:
    (folder / "echo_lines.py").write_text(ECHO)
    return LineChild(
        "echo_lines", env={"PYTHONPATH": str(folder), **env}, idle_s=idle_s, answer_s=answer_s
    )


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def run(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 20))


def test_it_starts_with_the_first_question_and_answers_in_order(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_child(tmp_path) as child:
            assert child.pid is None
            answers = await asyncio.gather(*(child.ask(b"%d" % n) for n in range(20)))
            assert answers == [b"%d" % n for n in range(20)]
            pid = child.pid
            assert pid is not None
        assert not lives(pid)

    run(story)


def test_it_may_be_started_ahead_of_the_first_question_and_ends_when_none_comes(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with a_child(tmp_path, idle_s=0.2) as child:
            await child.start()
            pid = child.pid
            assert pid is not None
            assert await child.ask(b"a") == b"a"
            assert child.pid == pid
        async with a_child(tmp_path, idle_s=0.2) as child:
            await child.start()
            await until(lambda: child.pid is None)
            assert await child.ask(b"b") == b"b"
        await child.start()
        assert child.pid is None

    run(story)


def test_it_knows_only_the_variables_it_was_given(tmp_path: Path) -> None:
    os.environ["LINE_CHILD_SECRET"] = "canary"

    async def story() -> None:
        async with a_child(tmp_path, GIVEN="this") as child:
            assert await child.ask(b"GIVEN") == b"this"
            assert await child.ask(b"LINE_CHILD_SECRET") == b"LINE_CHILD_SECRET"

    try:
        run(story)
    finally:
        del os.environ["LINE_CHILD_SECRET"]


def test_a_child_that_dies_answers_nothing_and_the_next_question_starts_another(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with a_child(tmp_path) as child:
            assert await child.ask(b"die") is None
            assert await child.ask(b"a") == b"a"
            assert await child.ask(b"half") is None
            assert await child.ask(b"b") == b"b"

    run(story)


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_child(tmp_path, answer_s=3.0) as child:
            assert await child.ask(b"a") == b"a"
            pid = child.pid
            assert pid is not None
            assert await child.ask(b"hang") is None
            assert not lives(pid)
            assert await child.ask(b"b") == b"b"

    run(story)


def test_an_idle_child_ends_and_is_started_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_child(tmp_path, idle_s=0.05) as child:
            assert await child.ask(b"a") == b"a"
            await until(lambda: child.pid is None)
            assert await child.ask(b"b") == b"b"

    run(story)


def test_closing_ends_a_question_under_way(tmp_path: Path) -> None:
    async def story() -> None:
        child = a_child(tmp_path)
        await child.ask(b"a")
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(child.ask(b"hang"))
            await asyncio.sleep(0.05)
            await child.close()
        assert asked.result() is None
        assert await child.ask(b"c") is None
        assert child.pid is None

    run(story)


def test_closing_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    async def story() -> None:
        child = a_child(tmp_path)
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(child.ask(b"a"))
            await asyncio.sleep(0)
            await child.close()
        assert asked.result() is None
        assert child.pid is None

    run(story)


def test_it_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    async def story() -> None:
        child = a_child(tmp_path)
        await child.ask(b"a")
        pid = child.pid
        assert pid is not None
        assert child._process is not None
        assert child._process.stdin is not None
        child._process.stdin.close()  # what the kernel does for a parent that was killed
        await until(lambda: not lives(pid))
        await child.close()

    run(story)
