"""`python -m fleet.proxy.script FILE --port N`: a scripted model behind HTTP, without a proxy."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from fleet.core.errors import Exit, FleetError
from fleet.proxy.http.server import Server
from fleet.proxy.script.serving import front_of
from fleet.proxy.script.tables import load
from fleet.proxy.script.upstream import ScriptUpstream

HOST = "127.0.0.1"
DRAIN_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="fleet.proxy.script", description="A scripted model.")
    parser.add_argument("file", type=Path, help="the script, a TOML file")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    options = parser.parse_args()
    try:
        upstream = ScriptUpstream(load(options.file, str(options.file)))
        asyncio.run(_serve(upstream, options.port))
    except FleetError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"port {options.port} cannot be had: {error}\n")
        return Exit.USAGE
    return Exit.OK


async def _serve(upstream: ScriptUpstream, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await Server.listen(HOST, port, front_of(upstream))
    sys.stdout.write(f"http://{HOST}:{server.port}\n")
    sys.stdout.flush()
    await stop.wait()
    await server.drain(DRAIN_S)


if __name__ == "__main__":
    sys.exit(main())
