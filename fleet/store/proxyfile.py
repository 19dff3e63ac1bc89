"""`proxy.json`: where the proxy of a repository listens. Its lock says whether it lives."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet.process.identity import start_time
from fleet.store.claims import is_held
from fleet.store.files import write_private
from fleet.store.layout import Layout

MAX_BYTES = 4096
PORTS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAddress:
    port: int
    metrics_port: int
    pid: int
    started: int  # clock ticks since boot: tells a successor that has not written yet

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def write(path: Path, port: int, metrics_port: int, pid: int | None = None) -> None:
    """Once it listens; by the proxy itself, or for a process that is known to live."""
    pid = os.getpid() if pid is None else pid
    address = ProxyAddress(
        port=port, metrics_port=metrics_port, pid=pid, started=start_time(pid) or 0
    )
    write_private(path, json.dumps(asdict(address)).encode())


def read(path: Path) -> ProxyAddress | None:
    """What was written last, by whoever it was: a new proxy asks for the port of the old one."""
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(MAX_BYTES))
        found = ProxyAddress(**{name: int(data[name]) for name in ProxyAddress.__slots__})
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    fits = 0 < found.port < PORTS and 0 <= found.metrics_port < PORTS and found.pid > 0
    return found if fits else None


def live(layout: Layout) -> ProxyAddress | None:
    """Where the proxy listens that lives now."""
    if not is_held(layout.proxy_lock):
        return None
    found = read(layout.proxy_file)
    return found if found is not None and start_time(found.pid) == found.started else None
