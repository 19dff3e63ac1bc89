"""Requests that two readers could take differently, over raw sockets.

Each is followed on the same connection by a good request for /smuggled. It has to be refused, the
connection closed, and neither the bad request nor what followed it served.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fleet.proxy.http.server import Limits
from tests.proxy.http.engine_fakes import Run, both, serving, wired

HOST = b"Host: 127.0.0.1\r\n"
LIMITS = Limits(tick_s=0.02, target=2000, head=8000, headers=50, body=100_000, head_s=0.5)
AFTER = b"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def get(*lines: bytes) -> bytes:
    return b"GET /a HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    head = b"POST /a HTTP/1.1\r\n" + HOST
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def line(text: bytes) -> bytes:
    return text + b"\r\n" + HOST + b"\r\n"


VECTORS: dict[str, tuple[int, bytes]] = {
    # two lengths, or one that is none
    "length and chunked": (
        400,
        post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    ),
    "chunked and length": (
        400,
        post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    ),
    "two lengths": (400, post(b"Content-Length: 3", b"Content-Length: 4", body=b"abc")),
    "two equal lengths": (400, post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc")),
    "lengths joined": (400, post(b"Content-Length: 3, 3", body=b"abc")),
    "length with a plus": (400, post(b"Content-Length: +3", body=b"abc")),
    "length with a minus": (400, post(b"Content-Length: -3", body=b"abc")),
    "length in hex": (400, post(b"Content-Length: 0x3", body=b"abc")),
    "length with a space": (400, post(b"Content-Length: 3 0", body=b"abc")),
    "length with an underscore": (400, post(b"Content-Length: 1_0", body=b"0123456789")),
    "length of other digits": (400, post("Content-Length: ٣".encode(), body=b"abc")),
    "empty length": (400, post(b"Content-Length:", body=b"abc")),
    "length of 30 digits": (413, post(b"Content-Length: " + b"9" * 30)),
    "length over the limit": (413, post(b"Content-Length: 100001")),
    # transfer codings
    "gzip then chunked": (501, post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")),
    "chunked then identity": (501, post(b"Transfer-Encoding: chunked, identity", body=b"")),
    "identity": (501, post(b"Transfer-Encoding: identity", body=b"abc")),
    "chunked in quotes": (501, post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n")),
    "xchunked": (501, post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n")),
    "two codings": (
        400,
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    ),
    "chunked behind a vertical tab": (400, post(b"Transfer-Encoding: \x0bchunked")),
    "space before the colon": (400, post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    "chunked in HTTP/1.0": (
        400,
        b"POST /a HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    # chunks
    "chunk size in words": (400, chunked(b"five\r\nabcde\r\n0\r\n\r\n")),
    "chunk size with 0x": (400, chunked(b"0x5\r\nabcde\r\n0\r\n\r\n")),
    "negative chunk size": (400, chunked(b"-5\r\nabcde\r\n0\r\n\r\n")),
    "empty chunk size": (400, chunked(b"\r\nabcde\r\n0\r\n\r\n")),
    "space after a chunk size": (400, chunked(b"5 \r\nabcde\r\n0\r\n\r\n")),
    "chunk size of 17 digits": (400, chunked(b"10000000000000005\r\nabcde\r\n0\r\n\r\n")),
    "chunk over the limit": (413, chunked(b"ffffffff\r\nabcde")),
    "chunk longer than its size": (400, chunked(b"3\r\nabcde\r\n0\r\n\r\n")),
    "chunk ending in a bare LF": (400, chunked(b"5\r\nabcde\n0\r\n\r\n")),
    "chunk line ending in a bare LF": (400, chunked(b"5\nabcde\r\n0\r\n\r\n")),
    "chunk line ending in a bare CR": (400, chunked(b"5\rabcde\r\n0\r\n\r\n")),
    "LF in a chunk extension": (400, chunked(b"5;a\nb\r\nabcde\r\n0\r\n\r\n")),
    "endless chunk extension": (400, chunked(b"5;" + b"x" * 300 + b"\r\nabcde\r\n0\r\n\r\n")),
    "a trailer": (400, chunked(b"0\r\nContent-Length: 5\r\n\r\n")),
    "more framing than the body may be": (
        413,
        chunked((b"1;" + b"x" * 250 + b"\r\na\r\n") * 420 + b"0\r\n\r\n"),
    ),
    # line ends and control characters
    "bare LF throughout": (400, b"GET /a HTTP/1.1\nHost: 127.0.0.1\n\n"),
    "bare LF after the request line": (400, b"GET /a HTTP/1.1\n" + HOST + b"\r\n"),
    "bare LF in a value": (400, get(b"A: b\nContent-Length: 5")),
    "bare CR in a value": (400, get(b"A: b\rContent-Length: 5")),
    "CR CR LF": (400, get(b"A: b\r")),
    "NUL in a value": (400, get(b"A: b\0c")),
    "control character in a value": (400, get(b"A: b\x01c")),
    "DEL in a value": (400, get(b"A: b\x7fc")),
    "folded header": (400, get(b"A: b", b" Content-Length: 5")),
    "folded with a tab": (400, get(b"A: b", b"\tchunked")),
    "folded first header": (400, line(b"GET /a HTTP/1.1\r\n Host: 127.0.0.1")),
    "empty line first": (400, b"\r\n" + get()),
    # names
    "no colon": (400, get(b"Content-Length")),
    "empty name": (400, get(b": value")),
    "space in a name": (400, get(b"Content Length: 5")),
    "slash in a name": (400, get(b"a/b: 5")),
    "umlaut in a name": (400, get("ä: 5".encode())),
    "NUL in a name": (400, get(b"Content-Length\0: 5")),
    # host and origin
    "no host": (400, b"GET /a HTTP/1.1\r\n\r\n"),
    "two hosts": (400, get(b"Host: 127.0.0.1")),
    "empty host": (400, b"GET /a HTTP/1.1\r\nHost:\r\n\r\n"),
    "host with a path": (400, b"GET /a HTTP/1.1\r\nHost: 127.0.0.1/x\r\n\r\n"),
    "host with a user": (400, b"GET /a HTTP/1.1\r\nHost: a@127.0.0.1\r\n\r\n"),
    "another host": (403, b"GET /a HTTP/1.1\r\nHost: attacker.example\r\n\r\n"),
    "another port": (403, b"GET /a HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n"),
    "our name as a prefix": (403, b"GET /a HTTP/1.1\r\nHost: 127.0.0.1.example\r\n\r\n"),
    "another host in HTTP/1.0": (403, b"GET /a HTTP/1.0\r\nHost: attacker.example\r\n\r\n"),
    "another origin": (403, get(b"Origin: http://attacker.example")),
    "null origin": (403, get(b"Origin: null")),
    # the request line
    "another authority": (400, line(b"GET http://attacker.example/a HTTP/1.1")),
    "user in the authority": (400, line(b"GET http://127.0.0.1@attacker.example/ HTTP/1.1")),
    "https form": (400, line(b"GET https://127.0.0.1/a HTTP/1.1")),
    "authority form": (400, line(b"GET 127.0.0.1:80 HTTP/1.1")),
    "asterisk": (400, line(b"GET * HTTP/1.1")),
    "OPTIONS asterisk": (405, line(b"OPTIONS * HTTP/1.1")),
    "relative target": (400, line(b"GET a HTTP/1.1")),
    "fragment": (400, line(b"GET /a#b HTTP/1.1")),
    "space in the target": (400, line(b"GET /a b HTTP/1.1")),
    "two spaces": (400, line(b"GET  /a HTTP/1.1")),
    "tab for a space": (400, line(b"GET\t/a HTTP/1.1")),
    "leading space": (400, line(b" GET /a HTTP/1.1")),
    "trailing space": (400, line(b"GET /a HTTP/1.1 ")),
    "umlaut in the target": (400, line("GET /ä HTTP/1.1".encode())),
    "NUL in the target": (400, line(b"GET /a\0b HTTP/1.1")),
    "endless target": (414, line(b"GET /" + b"a" * 3000 + b" HTTP/1.1")),
    "target that never ends": (414, b"GET /" + b"a" * 9000),
    "CONNECT": (501, line(b"CONNECT 127.0.0.1:80 HTTP/1.1")),
    "TRACE": (501, line(b"TRACE /a HTTP/1.1")),
    "small letters": (501, line(b"get /a HTTP/1.1")),
    "a method that is none": (400, line(b"GE(T /a HTTP/1.1")),
    "HTTP/0.9": (400, b"GET /a\r\n\r\n"),
    "HTTP/1.2": (505, line(b"GET /a HTTP/1.2")),
    "HTTP/2.0": (505, line(b"GET /a HTTP/2.0")),
    "HTTP/11.1": (400, line(b"GET /a HTTP/11.1")),
    "http in small letters": (400, line(b"GET /a http/1.1")),
    "preface of HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a TLS hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    # sizes
    "too many headers": (431, get(*[b"A%d: b" % n for n in range(60)])),
    "too long a head": (431, get(b"A: " + b"b" * 9000)),
    "a head that never ends": (431, b"GET /a HTTP/1.1\r\nA: " + b"b" * 9000),
    # what else one may ask
    "another expectation": (417, post(b"Expect: 200-ok", b"Content-Length: 3", body=b"abc")),
}


@both
@pytest.mark.parametrize("name", VECTORS)
def test_it_is_refused_and_the_connection_closed(name: str, run: Run) -> None:
    status, sent = VECTORS[name]

    async def main() -> None:
        async with serving(limits=LIMITS) as door, wired(door.port) as wire:
            await wire.send(sent + AFTER)
            told = await wire.rest()  # returns at the end of the connection only
            assert told.startswith(b"HTTP/1.1 %d " % status), told[:200]
            assert b"\r\nconnection: close\r\n" in told
            assert told.count(b"\r\ncontent-length: ") == 1
            assert door.targets == []

    run(main())


@both
def test_they_are_refused_as_well_when_they_come_byte_by_byte(run: Run) -> None:
    async def one(port: int, name: str) -> None:
        status, sent = VECTORS[name]
        bulk, end = sent[:-300], sent[-300:]
        async with wired(port) as wire:
            await wire.send(bulk)
            for at in range(len(end)):
                await wire.send(end[at : at + 1])
                await asyncio.sleep(0)
            await wire.send(AFTER)
            told = await wire.rest()
        assert told.startswith(b"HTTP/1.1 %d " % status), (name, told[:200])
        assert told.count(b"\r\ncontent-length: ") == 1, name

    async def main() -> None:
        async with serving(limits=replace(LIMITS, head_s=20.0)) as door:
            await asyncio.gather(*(one(door.port, name) for name in VECTORS))
            assert door.targets == []

    run(main())


GOOD: dict[str, bytes] = {
    "plain": get(),
    "our port": b"GET /a HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n",
    "IPv6": b"GET /a HTTP/1.1\r\nHost: [::1]:PORT\r\n\r\n",
    "our own origin": get(b"Origin: http://127.0.0.1:PORT"),
    "absolute, to ourselves": line(b"GET http://127.0.0.1:PORT/a HTTP/1.1"),
    "no space after the colon": b"GET /a HTTP/1.1\r\nHost:127.0.0.1\r\n\r\n",
    "spaces around a value": post(b"Content-Length:  \t 3 \t", body=b"abc"),
    "upgrade, which is not taken": get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"),
    "latin letters in a value": get("A: ä".encode("latin-1")),
    "a chunk extension": chunked(b'3;a="b"\r\nabc\r\n0\r\n\r\n'),
    "zeros before a chunk size": chunked(b"0003\r\nabc\r\n0\r\n\r\n"),
    "length 0": post(b"Content-Length: 0"),
}


@both
@pytest.mark.parametrize("name", GOOD)
def test_what_is_good_is_served_and_so_is_what_follows(name: str, run: Run) -> None:
    async def main() -> None:
        async with serving(limits=LIMITS) as door, wired(door.port) as wire:
            port = b"%d" % door.port
            await wire.send(GOOD[name].replace(b"PORT", port) + AFTER)
            assert (await wire.answer())[0] == 200
            assert (await wire.answer())[0] == 200
            assert door.targets == ["/a", "/smuggled"]

    run(main())


@both
def test_a_body_is_never_taken_for_a_request(run: Run) -> None:
    async def main() -> None:
        async with serving(limits=LIMITS) as door, wired(door.port) as wire:
            await wire.send(post(b"Content-Length: %d" % len(AFTER), body=AFTER))
            assert await wire.answer() == (200, AFTER)
            await wire.send(chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(AFTER), AFTER)))
            assert await wire.answer() == (200, AFTER)
            assert door.targets == ["/a", "/a"]

    run(main())
