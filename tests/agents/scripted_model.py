"""A model that says what a test wrote for it: a small server of the Messages API on loopback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
USAGE = {"input_tokens": 10, "output_tokens": 3, "cache_read_input_tokens": 2}


@dataclass(frozen=True)
class Answer:
    """What goes over the wire. No pieces at all: the connection is closed without a word."""

    pieces: tuple[bytes, ...]
    status: int = 200
    kind: str = "application/json"
    retry_after: str = ""
    whole: bool = True  # False: the connection ends before the body does


@dataclass(frozen=True)
class Seen:
    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Json:
        return dict(json.loads(self.raw))


@dataclass
class ScriptedModel:
    url: str
    answers: list[Answer]
    seen: list[Seen] = field(default_factory=list)

    @property
    def last(self) -> Json:
        """The last block of the last request."""
        return dict(self.seen[-1].body["messages"][-1]["content"][-1])


@contextmanager
def scripted(*answers: Answer) -> Iterator[ScriptedModel]:
    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            model.seen.append(Seen(self.path, headers, raw))
            self.close_connection = True
            if model.answers:
                play(self, model.answers.pop(0))
            else:
                play(self, refused(400, "invalid_request_error", "the script is at its end"))

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Connection)
    server.daemon_threads = False  # so that closing the server waits for them
    model = ScriptedModel(f"http://127.0.0.1:{server.server_port}", list(answers))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def play(connection: BaseHTTPRequestHandler, answer: Answer) -> None:
    if not answer.pieces:
        connection.connection.shutdown(socket.SHUT_RDWR)
        return
    connection.send_response(answer.status)
    connection.send_header("content-type", answer.kind)
    connection.send_header("transfer-encoding", "chunked")
    if answer.retry_after:
        connection.send_header("retry-after", answer.retry_after)
    connection.end_headers()
    for piece in answer.pieces:
        connection.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    if answer.whole:
        connection.wfile.write(b"0\r\n\r\n")


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def call(command: str, id_: str = "call-1") -> Json:
    return {"type": "tool_use", "id": id_, "name": "bash", "input": {"command": command}}


def message(*content: Json, stop: str = "end_turn") -> Json:
    kind = {"id": "msg", "type": "message", "role": "assistant", "model": "scripted"}
    return {**kind, "content": list(content), "stop_reason": stop, "usage": USAGE}


def in_one_piece(*content: Json, stop: str = "end_turn") -> Answer:
    return Answer((json.dumps(message(*content, stop=stop)).encode(),))


def streamed(*content: Json, stop: str = "end_turn") -> Answer:
    return stream_of(stream_events(message(*content, stop=stop)))


def stream_of(events: Iterable[Json], *, whole: bool = True) -> Answer:
    pieces = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)
    return Answer(tuple(pieces), kind="text/event-stream; charset=utf-8", whole=whole)


def stream_events(said: Json) -> Iterator[Json]:
    """As the API does it: texts and inputs in pieces, the usage told twice."""
    start = {**said, "content": [], "stop_reason": None, "usage": USAGE | {"output_tokens": 1}}
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    empty: Json
    for index, block in enumerate(said["content"]):
        if block["type"] == "text":
            empty, key, kind, whole = {"text": ""}, "text", "text_delta", block["text"]
        else:
            empty, key, kind = {"input": {}}, "partial_json", "input_json_delta"
            whole = json.dumps(block["input"])
        yield {"type": "content_block_start", "index": index, "content_block": block | empty}
        for piece in (whole[:5], whole[5:]):
            delta = {"type": kind, key: piece}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": said["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 3}}
    yield {"type": "message_stop"}


def refused(status: int, kind: str, why: str = "no", *, retry_after: str = "") -> Answer:
    body = {"type": "error", "error": {"type": kind, "message": why}}
    return Answer((json.dumps(body).encode(),), status=status, retry_after=retry_after)


def broken_off(kind: str) -> Answer:
    """A stream that begins well and then says that something is wrong."""
    error = {"type": "error", "error": {"type": kind, "message": "in the middle"}}
    return stream_of([*list(stream_events(message(text("half of"))))[:4], error])


def cut_short() -> Answer:
    return stream_of(list(stream_events(message(text("half of"))))[:-1], whole=False)
