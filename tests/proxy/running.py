"""A proxy of a test's own: the real thing in this process, on free ports, with a token by hand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet import config as configuration
from fleet.proxy.build import Tape
from fleet.proxy.http.server import Server
from fleet.proxy.plant import Plant, open_plant
from fleet.store import tokens
from fleet.store.database import Database
from fleet.store.layout import Layout
from fleet.store.schema import MIGRATIONS
from fleet.store.traffic import open_calls

TICK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    plant: Plant
    server: Server
    layout: Layout
    token: str

    @property
    def url(self) -> str:
        """What an agent is told: with its token in the path."""
        return f"http://127.0.0.1:{self.server.port}/a/{self.token}"

    def new_token(self, agent: str = "by-hand") -> str:
        """Another caller's."""
        with contextlib.closing(Database(self.layout.database)) as db:
            return tokens.issue_by_hand(db, agent, time.time())

    def url_of(self, token: str) -> str:
        return f"http://127.0.0.1:{self.server.port}/a/{token}"

    def calls_db(self) -> Database:
        """After everything that was told is on disk."""
        self.plant.books.close()
        self.plant.writer.flush()
        return open_calls(self.layout.calls_database)


@contextlib.asynccontextmanager
async def running(
    folder: Path, toml: str, environ: Mapping[str, str] | None = None, tape: Tape | None = None
) -> AsyncIterator[Running]:
    """`toml` is a whole fleet.toml; files it names must be in `folder / "repository"`."""
    top = folder / "repository"
    top.mkdir(exist_ok=True)
    (top / "fleet.toml").write_text(toml)
    layout = Layout(common_dir=folder / "git", top=top, cache=folder / "cache")
    layout.prepare()
    variables = {"HOME": str(folder), "PATH": "/usr/bin:/bin", **(environ or {})}
    found = configuration.load(top, variables)
    with contextlib.closing(Database(layout.database)) as db:
        db.migrate(MIGRATIONS)
        token = tokens.issue_by_hand(db, "by-hand", time.time())
    async with open_plant(found, layout, variables, tape or Tape()) as plant:
        server = await plant.listen("127.0.0.1", 0)
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(_tick(plant))
            try:
                yield Running(plant=plant, server=server, layout=layout, token=token)
            finally:
                ticking.cancel()
                await server.drain(1.0)


async def _tick(plant: Plant) -> None:
    while True:
        plant.tick()
        await asyncio.sleep(TICK_S)
