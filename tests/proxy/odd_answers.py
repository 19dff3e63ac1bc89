"""Streams as providers could send them: comments, fields nobody reads, data in several lines,
events from the future; each with a good end, so that it may be kept."""

from __future__ import annotations

from collections.abc import Callable

EVENTS, JSON = "text/event-stream", "application/json"
ANTHROPIC = "".join(
    (
        ": welcome\n\n",
        'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message",',
        '"role":"assistant","model":"x","content":[],"stop_reason":null,"usage":{"input_tokens":3,',
        '"output_tokens":1}}}\n\n',
        'event: ping\ndata: {"type": "ping"}\n\n',
        'id: 7\nretry: 10\nevent:content_block_start\ndata:{"type":"content_block_start","index":0',
        ',"content_block":{"type":"text","text":""}}\n\n\n\n',
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,\n',
        'data: "delta":{"type":"text_delta","text":"é 漢 😀 \u2028 \\ud83d \\n\\n"}}\n\n',
        ":\n\n",
        'event: from_the_future\ndata: { "x" : 1.0, "y":1e5 }\n\n',
        'data: {"type":"content_block_stop","index":0}\nevent: content_block_stop\n\n',
        'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn",',
        '"stop_sequence":null},"usage":{"output_tokens":9}}\n\n',
        'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        ": goodbye\n\n",
    )
).encode()
_CHUNK = 'data: {"id":"c","object":"chat.completion.chunk","model":"x","choices":'
CHAT_BEFORE = "".join(
    (
        ": OPENROUTER PROCESSING\n\n",
        _CHUNK + '[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
        _CHUNK + '[{"index":0,"delta":{"content":"é 漢 😀 \\ud83d \\n\\n"},"n":1.0}]}\n\n',
        'event: message\nid:1\ndata:{"id":"c",\ndata: "choices":[{"index":0,"delta":{"content":',
        '"b"}}]}\n\n\n',
        _CHUNK + '[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    )
).encode()
CHAT_USAGE = (
    b'data: {"id":"c","choices":[] , "usage":{"prompt_tokens":3,"completion_tokens":9,"x":1.0}}\n\n'
)
CHAT_AFTER = b": nearly\n\ndata: [DONE]\n\n"
CHAT = CHAT_BEFORE + CHAT_USAGE + CHAT_AFTER
_RESPONSE = '{"id":"r","object":"response","model":"x","status":'
RESPONSES = "".join(
    (
        f'event: response.created\ndata: {{"type":"response.created","response":{_RESPONSE}',
        '"in_progress","output":[]}}\n\n',
        ": keepalive\n\n",
        'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"é',
        '漢😀 \\n\\n",\ndata:"obfuscation":"x","output_index":0,"content_index":0,"item_id":',
        '"i"}\n\n',
        'event: response.from_the_future\ndata: {"type":"response.from_the_future","n":1.0}\n\n',
        'event: response.completed\ndata: {"type":"response.completed","response":',
        f'{_RESPONSE}"completed","output":[{{"type":"message","id":"i","role":"assistant",',
        '"content":[{"type":"output_text","text":"é漢😀 \\n\\n"}]}],"usage":{"input_tokens":3,',
        '"output_tokens":9,"total_tokens":12}}}\n\n',
    )
).encode()
GEMINI = "".join(
    (
        'data: {"candidates": [{"content": {"parts": [{"text": "é 漢 \\n\\n"}],"role": "model"},',
        '"index": 0}],\ndata: "usageMetadata": {"promptTokenCount": 3}}\n\n',
        'data: {"candidates": [{"content": {"parts": [{"text": "😀"}],"role": "model"},',
        '"finishReason": "STOP","index": 0}],"usageMetadata": {"promptTokenCount": 3,',
        '"candidatesTokenCount": 9,"totalTokenCount": 12},"modelVersion": "x"}\n\n',
    )
).encode()

STREAMS = {
    "/v1/messages": ANTHROPIC,
    "/v1/chat/completions": CHAT,
    "/v1/responses": RESPONSES,
    "/v1beta/models/gemini-demo:streamGenerateContent?alt=sse": GEMINI,
}
ENDS: dict[str, Callable[[bytes], bytes]] = {
    "lf": lambda stream: stream,
    "crlf": lambda stream: stream.replace(b"\n", b"\r\n"),
    "cr": lambda stream: stream.replace(b"\n", b"\r"),
    "mixed": lambda stream: stream.replace(b"\n\n", b"\r\n\n").replace(b"}\n", b"}\r"),
    "bom": lambda stream: b"\xef\xbb\xbf" + stream,
}
# Whole answers, by the place that was asked, as these providers lay them out.
WHOLE = {
    "/v1/messages": b'{"type":"message","id":"m","content":[{"type":"text","text":"\\u00e9"'
    b'}],"model":"x","role":"assistant","stop_reason":"end_turn","usage":{"input_tokens":1.0,'
    b'"output_tokens":1e1}}',
    "/v1/messages/count_tokens": b'{ "input_tokens" : 14 }\n',
    "/v1/chat/completions": b'\n         \n{"id": "c", "choices": [{"index": 0, "message": {"role"'
    b': "assistant", "content": "a\\ud83d"}, "finish_reason": "stop"}], "usage": {}, "n": 1.0}\n',
    "/v1/responses": b'{\n  "id": "r",\n  "object": "response",\n  "status": "completed",\n  '
    b'"output": [],\n  "temperature": 1.0\n}',
    "/v1/embeddings": b'{"object":"list","data":[{"embedding":[0.10,-1e-05,1.0]}],"model":"e"}',
    "/v1beta/models/g:generateContent": b'{\r\n "candidates": [ { "index": 0.0 } ]\r\n}\r\n',
    "/v1beta/models/g:streamGenerateContent": b'[{"candidates": []}\r\n,\r\n{"candidates": []}]\n',
}


def request_of(place: str) -> bytes:
    """For a stream of which nothing is withheld."""
    options = b"" if "chat" not in place else b',"stream_options":{"include_usage":true}'
    store = b',"store":false' if "responses" in place else b""
    return b'{"model":"demo","stream":true' + options + store + b"}"


def cut(data: bytes, *sizes: int) -> list[tuple[bytes, ...]]:
    ways = [tuple(data[at : at + size] for at in range(0, len(data), size)) for size in sizes]
    return [(data,), *ways]
