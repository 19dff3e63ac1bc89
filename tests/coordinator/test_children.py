"""The proxy as a child of a run, with a program in its place that shows what it was given."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from fleet import control
from fleet.coordinator.children import Children, Tape
from fleet.core.errors import FleetError
from fleet.core.event import Kind
from fleet.store import events
from fleet.store.claims import try_hold
from fleet.wiring import Fleet, open_fleet

KEYS = {"ANTHROPIC_API_KEY": "canary", "WORK_KEY": "canary"}
SERVES = """
import json, os, signal, sys
from pathlib import Path
def leave(number, frame):
    Path("left").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
Path("started.tmp").write_text(json.dumps({"env": dict(os.environ), "argv": sys.argv[1:]}))
Path("started.tmp").rename("started")
while True:
    signal.pause()
"""
FAILS = "import sys; sys.exit('no such port')"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    top = tmp_path / "project"
    top.mkdir()
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@localhost", "-C", str(top)]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    (top / "fleet.toml").write_text(
        '[proxy.upstreams.work]\nkind = "anthropic"\nkeys = ["WORK_KEY"]\n'
    )
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    opened = open_fleet(
        top, {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "c")}
    )
    yield opened
    opened.close()


def children(fleet: Fleet, program: str, tape: Tape | None = None) -> Children:
    async def start(
        module: str, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            module,
            *arguments,
            cwd=cwd,
            env=dict(env),
            stderr=asyncio.subprocess.PIPE,
        )

    environ = {"PATH": "/usr/bin:/bin", "HOME": "/", **KEYS}
    return Children(fleet, environ, tape or Tape(), stopping=lambda: False, start=start)


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.01)


def told(fleet: Fleet) -> list[tuple[Kind, str, str]]:
    return [(event.kind, event.worker, event.reason) for event in events.since(fleet.db, 0)]


def test_the_proxy_starts_when_it_is_wanted_with_keys_and_ends_when_asked(fleet: Fleet) -> None:
    started, left = fleet.layout.top / "started", fleet.layout.top / "left"

    async def main() -> None:
        wanted = asyncio.Event()
        kept = children(fleet, SERVES, Tape(record=Path("/tape")))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(kept.keep_proxy(wanted))
            await asyncio.sleep(0.2)
            assert told(fleet) == []
            wanted.set()
            await until(started.exists)
            task.cancel()

    asyncio.run(main())
    assert left.exists()
    seen = json.loads(started.read_text())
    assert seen["argv"] == ["fleet.proxy", "--top", str(fleet.layout.top), "--record", "/tape"]
    assert seen["env"].items() >= KEYS.items()
    assert [(kind, worker) for kind, worker, _ in told(fleet)] == [(Kind.WORKER_STARTED, "proxy")]


def test_other_children_are_given_no_key(fleet: Fleet) -> None:
    started = fleet.layout.top / "started"

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(children(fleet, SERVES).keep_lander())
            await until(started.exists)
            task.cancel()

    asyncio.run(main())
    seen = json.loads(started.read_text())
    assert not set(KEYS) & set(seen["env"])
    assert seen["env"]["PATH"] == "/usr/bin:/bin"


def test_a_proxy_that_lives_is_adopted_and_replaced_when_it_dies(fleet: Fleet) -> None:
    started = fleet.layout.top / "started"

    async def main() -> None:
        wanted = asyncio.Event()
        wanted.set()
        living = try_hold(fleet.layout.proxy_lock)
        assert living is not None
        async with asyncio.TaskGroup() as group:
            task = group.create_task(children(fleet, SERVES).keep_proxy(wanted))
            await asyncio.sleep(0.3)
            assert [entry[0] for entry in told(fleet)] == [Kind.WORKER_ADOPTED]
            living.release()
            await until(started.exists)
            task.cancel()

    asyncio.run(main())


def test_a_configuration_the_proxy_refuses_ends_the_run(fleet: Fleet) -> None:
    refuses = "import sys; sys.stderr.write('fleet proxy: model.toml:3: no'); sys.exit(3)"

    async def main() -> None:
        wanted = asyncio.Event()
        wanted.set()
        await children(fleet, refuses).keep_proxy(wanted)

    with pytest.raises(FleetError, match=r"^model\.toml:3: no$"):
        asyncio.run(main())
    assert not control.read(fleet.controls).faulty


def test_a_proxy_that_cannot_start_pauses_the_fleet_and_says_why(fleet: Fleet) -> None:
    async def main() -> None:
        wanted = asyncio.Event()
        wanted.set()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(children(fleet, FAILS).keep_proxy(wanted))
            await until(lambda: control.read(fleet.controls).faulty)
            task.cancel()

    asyncio.run(main())
    assert control.read(fleet.controls).paused == "the proxy cannot start: no such port"
    exits = [entry for entry in told(fleet) if entry[0] is Kind.WORKER_EXITED]
    assert exits == [(Kind.WORKER_EXITED, "proxy", "no such port")] * 3
