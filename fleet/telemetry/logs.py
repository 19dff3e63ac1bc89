"""Operators' logs: text or JSON, to stderr and to a rotating file of the process's own.

Facts that something reads are events in the ledger, not log lines.
"""

from __future__ import annotations

import json
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE_BYTES, FILES = 2_000_000, 3


def start(path: Path, *, form: str, role: str, to_stderr: bool) -> None:
    """Send this process's log to `path` (0600) and, for a person who watches, to stderr."""
    formatter: logging.Formatter = _Json(role) if form == "json" else _Text(role)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    outputs: list[logging.Handler] = [
        _File(path, maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8")
    ]
    if to_stderr:
        outputs.append(logging.StreamHandler(sys.stderr))
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for output in outputs:
        output.setFormatter(formatter)
        root.addHandler(output)


class _File(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """A log that cannot be written stops nobody: what matters is in the ledger."""


class _Text(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__(f"%(asctime)s {role} %(levelname)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\x1b", "\\x1b")


class _Json(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
