"""Upstreams over TLS."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from fleet.proxy.http.client import Client, Origin, Timeouts
from fleet.proxy.wire import Fault
from tests.proxy.http.certificate import client_side, server_side
from tests.proxy.http.client_fakes import LIMITS, OK, Taker, request, upstream
from tests.proxy.http.engine_fakes import Run, Wire, both


async def ask(client: Client, host: str, port: int, body: bytes = b"{}") -> Taker:
    taker = Taker()
    client.send(Origin("https", host, port), "POST", "/", (), body, taker, Timeouts())
    return await taker.done()


@both
def test_calls_go_over_one_tls_connection_and_speak_http_1_1(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        spoken: list[str | None] = []
        names: list[bytes] = []

        async def behave(wire: Wire, _number: int) -> None:
            tls: ssl.SSLObject = wire.writer.get_extra_info("ssl_object")
            spoken.append(tls.selected_alpn_protocol())
            while True:
                head, body = await request(wire)
                names.append(head.partition(b"host: ")[2].partition(b"\r\n")[0])
                await wire.send(OK.replace(b"2\r\n\r\nok", b"%d\r\n\r\n%b" % (len(body), body)))

        tls = server_side(tmp_path, ["h2", "http/1.1"])
        async with (
            upstream(behave, ssl=tls) as port,
            Client(limits=LIMITS, tls=client_side()) as client,
        ):
            big = b"x" * 3_000_000
            for body in (b"a", big, b"c"):
                assert (await ask(client, "localhost", port, body)).body == body
            assert spoken == ["http/1.1"]
            assert names == [b"localhost:%d" % port] * 3

    run(main())


@both
def test_a_certificate_nobody_trusts_or_for_another_name_is_a_failure_to_connect(
    run: Run, tmp_path: Path
) -> None:
    async def main() -> None:
        async def behave(wire: Wire, _number: int) -> None:
            await wire.send(OK)

        trusts = client_side()
        async with upstream(behave, ssl=server_side(tmp_path, [])) as port:
            async with Client(limits=LIMITS) as client:
                failure = (await ask(client, "127.0.0.1", port)).failure
                assert failure is not None and failure.fault is Fault.CONNECT
                assert "certificate" in failure.detail.lower()
            async with Client(limits=LIMITS, tls=trusts) as client:
                failure = (await ask(client, "127.0.0.2", port)).failure
                assert failure is not None and failure.fault is Fault.CONNECT

    run(main())


@both
def test_a_server_that_speaks_no_tls_is_a_failure_to_connect(run: Run) -> None:
    async def main() -> None:
        async def behave(wire: Wire, _number: int) -> None:
            await wire.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

        async with upstream(behave) as port, Client(limits=LIMITS) as client:
            failure = (await ask(client, "127.0.0.1", port)).failure
            assert failure is not None and failure.fault is Fault.CONNECT

    run(main())


@both
def test_a_tls_connection_can_be_paused_cancelled_and_cut(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async def behave(wire: Wire, number: int) -> None:
            await request(wire)
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok")
            if number == 1:
                await wire.rest()
            else:
                await wire.cut()

        async with (
            upstream(behave, ssl=server_side(tmp_path, [])) as port,
            Client(limits=LIMITS, tls=client_side()) as client,
        ):
            taker = Taker()
            origin = Origin("https", "127.0.0.1", port)
            sending = client.send(origin, "GET", "/", (), b"", taker, Timeouts())
            sending.pause()
            sending.resume()
            while taker.body != b"ok":
                await asyncio.sleep(0.002)
            sending.cancel()
            while client.connections:
                await asyncio.sleep(0.002)
            assert taker.told == ["head", "data"]
            failure = (await ask(client, "127.0.0.1", port)).failure
            assert failure is not None and failure.fault is Fault.RESET

    run(main())
