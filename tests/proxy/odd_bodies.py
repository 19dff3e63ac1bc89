"""Bodies as agents of each kind send them, written as no serialiser of ours would write them."""

from __future__ import annotations

# What a text may hold: every escape there is, raw characters of every width, and things that look
# like what the proxy itself looks for.
TEXT = (
    rb"line\n\ttab \"quoted\" back\\slash \/ \u00e9 \u2028 \ud83d\ude00 "
    + "é 漢 😀 \u2028\u00a0".encode()
    + rb" <b>&amp;</b> \u003cb\u003e {\"stream\": true, \"model\":\"no\"} data: [DONE]\r\n "
)
# Numbers that are not the same text once they have been numbers.
NUMBERS = b"[1.0, 1e5, 1E+5, -0, -0.0, 0.10, 100000000000000000000000, 3.0000000000000004, 1e-7]"
SIZES = (200, 5_000, 76_000, 1_000_000)


def _text(size: int) -> bytes:
    return TEXT * max(size // len(TEXT), 1)


def claude(size: int) -> bytes:
    """Compact, with nested copies of top-level names."""
    return b"".join(
        (
            rb'{"model":"claude-demo","messages":[{"role":"user","content":[{"type":"text","text":"',
            _text(size),
            rb'","cache_control":{"type":"ephemeral"}}]},{"role":"system","content":"agents:\n"}],',
            rb'"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=9; cch=0"},',
            rb'{"type":"text","text":"You are an agent.","cache_control":{"type":"ephemeral"}}],',
            rb'"tools":[{"name":"Bash","input_schema":{"type":"object","properties":{"stream":{',
            rb'"type":"boolean"},"model":{"type":"string"}},"$schema":"x","minimum":',
            NUMBERS,
            rb'}}],"metadata":{"user_id":"{\"session_id\":\"1\"}"},"max_tokens":64000,"stream":true}',
        )
    )


def codex(size: int) -> bytes:
    """`stream` at the front, ids everywhere, an empty item."""
    return b"".join(
        (
            rb'{"model":"gpt-demo","stream":true,"input":[{"type":"message","id":"msg_1",',
            rb'"role":"developer","content":[{"type":"input_text","text":"',
            _text(size),
            rb'"}]},{},{"type":"function_call","id":"fc_1","call_id":"c1","name":"exec_command",',
            rb'"arguments":"{\"cmd\":\"echo \\\"\\u00fc\\\"\",\"n\":1.0}"}],"tools":[{"type":',
            rb'"function","name":"exec_command","strict":false,"parameters":{"n":',
            NUMBERS,
            rb'}}],"store":false,"include":["reasoning.encrypted_content"],"prompt_cache_key":"k",',
            rb'"client_metadata":{"x":null},"reasoning":null,"text":{"verbosity":"low"}}',
        )
    )


def gemini(size: int) -> bytes:
    """Indented, and with a line end after it."""
    return b"".join(
        (
            b'{\r\n  "contents" : [ { "parts" : [ { "text" : "',
            _text(size),
            b'" }\t] , "role" : "user" } ],\r\n  "generationConfig":{"temperature":1.0,"topK":',
            b'1e5},\r\n  "tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":',
            NUMBERS,
            b"}]}]\r\n}\r\n\n",
        )
    )


def qwen(size: int) -> bytes:
    """With a space after each colon and comma, and its own wish for usage."""
    return b"".join(
        (
            rb'{"model": "qwen-demo", "messages": [{"role": "system", "content": "',
            _text(size),
            rb'"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}, {"role":',
            rb' "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function",',
            rb' "function": {"name": "f", "arguments": "{ }"}}]}], "temperature": 1.0, "top_p": ',
            rb'9e-1, "stream": true, "stream_options": {"include_usage": true}, "n": 1.0}',
        )
    )


def mini(size: int) -> bytes:
    """Not a stream."""
    return (
        rb'{"messages":[{"role":"user","content":"'
        + _text(size)
        + rb'"}], "model":"demo","tools":[{"type":"function","function":{"name":"bash"}}]}'
    )


# By the path each goes to.
AGENTS = (
    ("/v1/messages?beta=true", claude),
    ("/v1/responses", codex),
    ("/v1beta/models/gemini-demo:streamGenerateContent?alt=sse", gemini),
    ("/v1/chat/completions", qwen),
    ("/v1/chat/completions", mini),
)
ODD = {
    "space before and after": b' \r\n\t{"model" :\t"m" , "messages" : [ ] }\n\n ',
    "a member twice": b'{"model":"m","messages":[1],"messages":[2],"model":"m"}',
    "a member twice, deeper": b'{"model":"m","messages":[{"a":1,"a":2,"":0,"":0}]}',
    "an escaped name": b'{"mod\\u0065l":"m","messages":[]}',
    "half a surrogate pair": rb'{"model":"m","messages":["\ud83d","\ude00\ud83d","\uDFFF"]}',
    "half a pair in a name": rb'{"model":"m","\ud83d":1}',
    "numbers": b'{"model":"m","messages":' + NUMBERS + b"}",
    "no number": b'{"model":"m","temperature":NaN,"top_p":-Infinity}',
    "a null byte, escaped": rb'{"model":"m","messages":["\u0000\b\f"]}',
    "depth": b'{"model":"m","messages":' + b"[" * 600 + b"]" * 600 + b"}",
    "not UTF-8": b'{"model":"m","messages":["\xff\xfe\xc3("]}',
    "a byte order mark": b'\xef\xbb\xbf{"model":"m"}',
    "an array": b"[1, 2]",
    "a text": b'"model"',
    "cut short": b'{"model":"m","messages":[',
    "two bodies": b'{"model":"m"}{"model":"n"}',
    "no JSON": b"\x00\x01 model=m&stream=true",
    "nothing": b"",
    "odd types": b'{"model":7,"stream":"true","stream_options":[],"tools":{},"messages":0}',
}
PLACES = (
    "/v1/messages",
    "/v1/messages/count_tokens?beta=true",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1beta/models/gemini-demo:generateContent",
    "/v1beta/models/gemini-demo:countTokens",
)
