"""A child of ours that answers questions: one line to its input, one line from its output.

It is started by the first question, or ahead of it, and ends when it has had none for a while, or
with us however we end: its input is closed then, and a child that cannot read on ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from typing import Self

LINE_BYTES = 1 << 20


class LineChild:
    """`python -m module`, for one event loop. Questions are asked one at a time, in order."""

    def __init__(
        self, module: str, *, env: Mapping[str, str], idle_s: float, answer_s: float
    ) -> None:
        self._module = module
        self._env = dict(env)
        self._idle_s = idle_s
        self._answer_s = answer_s
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """None: it does not run."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def start(self) -> None:
        """Ahead of the first question. What fails then fails again, and is told, when asked."""
        async with self._turn:
            with contextlib.suppress(OSError):
                if self._process is None and not self._closed:
                    self._process = await self._start()
            if self._closed:  # while it started
                await self._end()
            elif self._process is not None and self._idle is None:
                self._rest()

    async def ask(self, line: bytes) -> bytes | None:
        """The answer, without its line end; None when the child failed or took too long."""
        async with self._turn:
            if self._closed:
                return None
            if self._idle is not None:
                self._idle.cancel()
            try:
                async with asyncio.timeout(self._answer_s):
                    answer = await self._exchange(line)
            except (OSError, ValueError, TimeoutError):
                answer = b""
            except asyncio.CancelledError:
                await self._end()  # the answer to this question is nobody else's
                raise
            if not answer.endswith(b"\n"):
                await self._end()
                return None
            self._rest()
            return answer[:-1]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the child; questions under way are not answered."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        await self._end()

    async def _exchange(self, line: bytes) -> bytes:
        process = self._process
        if process is None or process.returncode is not None or _input(process).is_closing():
            await self._end()
            process = self._process = await self._start()
            if self._closed:  # while it started
                await self._end()
                return b""
        assert process.stdout is not None
        _input(process).write(line + b"\n")
        await _input(process).drain()
        return await process.stdout.readline()

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            self._module,
            env=self._env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_BYTES,
            start_new_session=True,  # a Ctrl-C is for the parent
        )

    def _rest(self) -> None:
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._close_input)

    def _close_input(self) -> None:
        if self._process is not None:
            _input(self._process).close()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        _input(process).close()


def _input(process: asyncio.subprocess.Process) -> asyncio.StreamWriter:
    assert process.stdin is not None
    return process.stdin
