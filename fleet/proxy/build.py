"""From the settings of an upstream to what answers calls."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fleet.config import ProxyConfig, UpstreamConfig, UpstreamKind
from fleet.proxy.http.client import Client, Origin, Timeouts
from fleet.proxy.llama import Llama
from fleet.proxy.recording import Recorder, Replayer
from fleet.proxy.remote import Remote
from fleet.proxy.script import ScriptUpstream, load
from fleet.proxy.wire import Headers, Upstream

HIDDEN = b"[key]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """Whether exchanges are kept in a folder, or answered from one."""

    record: Path | None = None
    replay: Path | None = None


class Builder:
    """Leaving it waits until every recording is on disk."""

    def __init__(
        self, config: ProxyConfig, client: Client, tape: Tape, tasks: asyncio.TaskGroup
    ) -> None:
        self._tasks = tasks
        self._client = client
        self._tape = tape
        self._stack = ExitStack()
        self._secrets: list[bytes] = []
        self.configure(config)

    def configure(self, config: ProxyConfig) -> None:
        """For what is built from now on."""
        self._timeouts = Timeouts(
            connect=config.connect_timeout_s,
            first_byte=config.first_byte_timeout_s,
            idle=config.idle_timeout_s,
            total=config.total_timeout_s,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def upstream(
        self,
        found: UpstreamConfig,
        account: str,
        url: str,
        credential: Headers,
    ) -> Upstream:
        folder = account.replace("/", ".")
        self._secrets += [value.removeprefix(b"Bearer ") for _, value in credential]
        if self._tape.replay is not None:
            replayer = Replayer(self._tape.replay / folder, redact=self.redact)
            self._stack.callback(replayer.close)
            return replayer
        upstream = self._bare(found, url, credential)
        if self._tape.record is None:
            return upstream
        recorder = Recorder(upstream, self._tape.record / folder, redact=self.redact)
        self._stack.callback(recorder.close)
        return recorder

    def _bare(self, found: UpstreamConfig, url: str, credential: Headers) -> Upstream:
        if found.kind is UpstreamKind.SCRIPT:
            return ScriptUpstream(load(Path(found.script), Path(found.script).name))
        origin, base = Origin.parse(url)
        remote = Remote(self._client, origin, base, credential, self._timeouts)
        if found.kind is not UpstreamKind.LLAMA_CPP:
            return remote
        llama = Llama(remote, self._tasks)
        self._stack.callback(llama.close)
        return llama

    def redact(self, data: bytes) -> bytes:
        """Without any of our keys."""
        for secret in self._secrets:
            data = data.replace(secret, HIDDEN)
        return data
