"""Operators' logs: text or JSON, to stderr and to a rotating file of the process's own.

Facts that something reads are events in the ledger, not log lines. Whatever is logged, by us or by
a library, has passed `redaction` before any output sees it.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from fleet.telemetry.redaction import harmless, redactor

FILE_BYTES, FILES = 2_000_000, 3


def start(
    path: Path, *, form: str, role: str, to_stderr: bool, secrets: Iterable[str] = ()
) -> None:
    """Send this process's log to `path` (0600) and, for a person who watches, to stderr. No value
    of `secrets` will be in it."""
    redact = redactor(secrets)
    formatter: logging.Formatter = _Json(role, redact) if form == "json" else _Text(role, redact)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    outputs: list[logging.Handler] = [
        _Private(path, maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8")
    ]
    if to_stderr:
        outputs.append(logging.StreamHandler(sys.stderr))
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for output in outputs:
        output.setFormatter(formatter)
        root.addHandler(output)


class _Private(RotatingFileHandler):
    """Each of its files is ours alone, and none is reached through a link."""

    def _open(self) -> io.TextIOWrapper:
        def opener(name: str, flags: int) -> int:
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

        file = open(self.baseFilename, "ab", opener=opener)  # noqa: SIM115 - the handler closes it
        return io.TextIOWrapper(file, encoding=self.encoding, errors="replace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """A log that cannot be written stops nobody: what matters is in the ledger."""


class _Text(logging.Formatter):
    def __init__(self, role: str, redact: Callable[[str], str]) -> None:
        super().__init__(f"%(asctime)s {role} %(levelname)s %(message)s", "%H:%M:%S")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return harmless(self._redact(super().format(record)))


class _Json(logging.Formatter):
    def __init__(self, role: str, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._role = role
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        if record.exc_info:
            line["error"] = self._redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=True)
