"""What a program behind the walls can do. Run by the tests, never imported.

probe.py JSON: {name: [kind, argument…]}; prints {name: "" or why not}.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path


def attempt(kind: str, *arguments: str) -> None:
    match kind:
        case "read":
            Path(arguments[0]).read_bytes()
        case "write":
            Path(arguments[0]).write_text("written")
        case "list":
            list(Path(arguments[0]).iterdir())
        case "link":
            link = Path(arguments[1])
            link.symlink_to(arguments[0])
            link.write_text("written through a link")
        case "tcp":
            with socket.create_connection(("127.0.0.1", int(arguments[0])), timeout=5) as side:
                side.sendall(b"hello\n")
                if side.recv(6) != b"hello\n":
                    raise ConnectionError("nobody answered")
        case "udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as side:
                side.connect(("127.0.0.1", int(arguments[0])))
                side.send(b"hello")
                side.settimeout(2)
                side.recv(5)
        case "unix":
            with socket.socket(socket.AF_UNIX) as side:
                side.connect(arguments[0].replace("@", "\0"))
        case "signal":
            os.kill(int(arguments[0]), 0)
        case "kill":
            os.kill(int(arguments[0]), signal.SIGKILL)


def main() -> None:
    said = {}
    for name, (kind, *arguments) in json.loads(sys.argv[1]).items():
        try:
            attempt(kind, *arguments)
            said[name] = ""
        except Exception as error:
            said[name] = repr(error)
    sys.stdout.write(json.dumps(said))


main()
