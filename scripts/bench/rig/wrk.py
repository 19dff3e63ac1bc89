"""The load by wrk, where it is installed: a third of the CPU of our own, which matters on 2 cores.

It cannot tell a wrong answer of status 200 from a right one, so a lane is asked by our own first.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from pathlib import Path

from scripts.bench.rig.target import Load, Meters, Target, Upstream, Work

SCRIPT = """\
local head, tail, number, step
local function read(path)
  local file = assert(io.open(path, "rb"))
  local data = file:read("*a")
  file:close()
  return data
end
function init(args)
  head, tail = read(args[1]), read(args[2])
  number, step = tonumber(args[3]), tonumber(args[4])
end
function request()
  number = number + step
  return head .. string.format("%010d", number) .. tail
end
function done(summary, latency)
  local errors = summary.errors
  local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\\n{"done": %d, "seconds": %f, "bad": %d, "p50": %f, "p99": %f}\\n',
    summary.requests, summary.duration / 1e6, bad,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
"""


def available() -> bool:
    return shutil.which("wrk") is not None


def requests(target: Target, upstream: Upstream, load: Load, folder: Path) -> Work:
    """As `load.requests`."""
    made = target.template(load.size)
    files = [folder / name for name in ("wrk.lua", "head", "tail")]
    for path, content in zip(files, (SCRIPT.encode(), made.head, made.tail), strict=True):
        path.write_bytes(content)
    lua, head, tail = map(str, files)
    argv = [
        "wrk",
        "-t1",
        f"-c{load.connections}",
        f"-d{max(1, round(load.seconds))}s",
        "--timeout",
        "30s",
    ]
    argv += ["-s", lua, f"http://127.0.0.1:{target.port}/", "--", head, tail]
    meters = Meters(target, upstream)
    meters.begin()
    mine = _children()
    began = time.perf_counter()
    ran = subprocess.run(
        [*argv, str(load.first), str(load.step)], capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    gateway, mock = meters.end()
    try:
        found = json.loads(ran.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise RuntimeError(f"wrk failed: {ran.stderr or ran.stdout}") from None
    return Work(
        done=int(found["done"]),
        seconds=min(took, float(found["seconds"])),
        bad=int(found["bad"]),
        gateway=gateway,
        upstream=mock,
        load=_children() - mine,
        p50=float(found["p50"]),
        p99=float(found["p99"]),
    )


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
