"""Looks like a proxy to the rest of a fleet: holds its lock, says where it listens, serves nothing.

`python proxy_stand_in.py GIT_DIR PORT`, until its standard input is closed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fleet.store import proxyfile
from fleet.store.claims import hold
from fleet.store.layout import Layout


def main() -> None:
    common_dir = Path(sys.argv[1])
    layout = Layout(common_dir=common_dir, top=common_dir.parent, cache=common_dir / "unused")
    layout.state.mkdir(mode=0o700, exist_ok=True)
    lock = hold(layout.proxy_lock, timeout_s=2.0)
    assert lock is not None
    with lock:
        proxyfile.write(layout.proxy_file, int(sys.argv[2]), 0)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
