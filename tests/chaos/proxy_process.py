"""A proxy as `fleet run` starts it, for the attempts of tasks that nobody works on.

Its tokens live as long as these attempts, so they outlive a proxy that is killed.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from fleet.store import proxyfile, tokens
from fleet.store.controls import Controls
from fleet.store.layout import Layout
from fleet.store.proxyfile import ProxyAddress
from fleet.store.rebuild import RECONCILED
from fleet.store.roster import Roster
from fleet.store.sqlite import connect
from tests.builders import a_database, a_ledger, a_task, an_owner

ROOT = Path(__file__).parents[2]
START_S = 15.0
END_S = 20.0
FLEET = """
[proxy]
dedup = "fleet"
cache_mb = 2
grace = "0.3s"
hold_back = "0.4s"
connect_timeout = "2s"
first_byte_timeout = "1s"
idle_timeout = "1s"
total_timeout = "8s"
breaker_open = "0.002s"
[proxy.upstreams.one]
kind = "anthropic"
url = "http://127.0.0.1:{port}"
[proxy.upstreams.other]
kind = "openai"
url = "http://127.0.0.1:{port}"
"""
_METRIC = re.compile(r"^fleet_proxy_(\w+?)(?:_total)?(?:\{([^}]*)\})? (\S+)$", re.M)


@dataclass(frozen=True, slots=True)
class Books:
    """What `calls.db` says."""

    calls: int
    served: int
    by_status: Counter[int] = field(default_factory=Counter)  # of calls
    integrity: str = ""


class ProxyProcess:
    def __init__(
        self, folder: Path, upstream_port: int, agents: int, *, fleet_toml: str = FLEET
    ) -> None:
        top = folder / "repository"
        top.mkdir()
        subprocess.run(["git", "init", "-q", top], check=True, timeout=30)
        (top / "fleet.toml").write_text(fleet_toml.format(port=upstream_port))
        self._top = top
        self._home = folder
        self.layout = Layout(common_dir=top / ".git", top=top, cache=folder / "cache")
        self.layout.prepare()
        self.tokens = tuple(self._attempts(agents))
        self.address: ProxyAddress
        self._process: subprocess.Popen[bytes] | None = None

    def _attempts(self, agents: int) -> list[str]:
        with closing(a_database(self.layout.state)) as db:
            now = time.time()
            Controls(db).set(RECONCILED, "nothing")  # there is no branch to compare it with
            Roster(db).sync([a_task(f"t{number}") for number in range(agents)], now=now)
            issued, ledger = [], a_ledger(db)
            while found := ledger.claim(an_owner(), lambda _: True, now=now):
                issued.append(tokens.issue(db, found[0], "soak", now))
            return issued

    async def start(self) -> None:
        """On the port it had before, if it had one."""
        environ = {"HOME": str(self._home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "fleet.proxy", "--top", str(self._top)]
        process = subprocess.Popen(command, cwd=self._top, env=environ)  # noqa: ASYNC220
        self._process = process
        async with asyncio.timeout(START_S):
            while (found := proxyfile.live(self.layout)) is None or found.pid != process.pid:
                assert process.poll() is None, "the proxy ended at once"
                await asyncio.sleep(0.01)
        self.address = found

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def stop(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(process.wait, END_S)

    async def metrics(self) -> dict[str, float]:
        """By name, and by `name room` what is said of rooms."""
        port = self.address.metrics_port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        found: defaultdict[str, float] = defaultdict(float)
        for name, labels, number in _METRIC.findall(text):
            room = re.search(r'room="(\w+)"', labels)
            found[f"{name} {room[1]}" if room else name] += float(number)
        return found

    def books(self) -> Books:
        """Whatever is on disk by now, with a proxy or without."""
        with closing(connect(self.layout.calls_database, read_only=True)) as db:
            ids = db.execute("SELECT count(*), count(DISTINCT id) FROM calls").get
            assert ids[0] == ids[1]
            statuses = db.execute("SELECT status, count(*) FROM calls GROUP BY status")
            return Books(
                calls=ids[0],
                served=db.execute("SELECT count(*) FROM served").get,
                by_status=Counter(dict(statuses)),
                integrity=db.pragma("integrity_check"),
            )

    @property
    def failures(self) -> list[str]:
        """What the log says that should never be said."""
        log = self.layout.logs / "proxy.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if "Traceback" in line or " ERROR " in line]
