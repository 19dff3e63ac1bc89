from __future__ import annotations

import json

import pytest

from fleet.proxy.dialects.cap import capped
from fleet.proxy.dialects.dialect import Endpoint


@pytest.mark.parametrize(
    ("endpoint", "official", "name"),
    [
        (Endpoint.CHAT, True, "max_completion_tokens"),
        (Endpoint.CHAT, False, "max_tokens"),
        (Endpoint.RESPONSES, True, "max_output_tokens"),
    ],
)
def test_one_member_is_put_in_and_no_other_byte_changes(
    endpoint: Endpoint, official: bool, name: str
) -> None:
    body = b'{ "model":"m",  "messages": [1.0, "\\u00e9"] }'
    found = capped(body, endpoint, 500, official=official)
    assert found == b'{"%b":500, ' % name.encode() + body[2:]


def test_geminis_stands_in_its_configuration() -> None:
    body = b'{"contents":[],"generationConfig":{"temperature":0.5}}'
    found = json.loads(capped(body, Endpoint.GENERATE, 500, official=True))
    assert found["generationConfig"] == {"temperature": 0.5, "maxOutputTokens": 500}
    bare = json.loads(capped(b'{"contents":[]}', Endpoint.GENERATE, 500, official=True))
    assert bare["generationConfig"] == {"maxOutputTokens": 500}


def test_what_has_no_such_bound_or_cannot_be_read_stays_as_it_is() -> None:
    for body in (b"", b"[]", b"{", b"\xff"):
        assert capped(body, Endpoint.CHAT, 500, official=True) == body
    assert capped(b'{"input":"x"}', Endpoint.EMBEDDINGS, 500, official=True) == b'{"input":"x"}'
