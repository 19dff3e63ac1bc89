from __future__ import annotations

from fleet.proxy.headers import for_client, for_upstream


def test_what_we_do_not_know_passes_in_order_and_repeated() -> None:
    sent = (
        (b"anthropic-beta", b"a,b"),
        (b"x-new-thing", b"1"),
        (b"anthropic-beta", b"c"),
        (b"user-agent", b"claude-cli/9"),
    )
    assert for_upstream(sent, login=False)[:4] == sent


def test_credentials_cookies_framing_and_our_own_words_stay_here() -> None:
    sent = (
        (b"host", b"127.0.0.1:1"),
        (b"authorization", b"Bearer t"),
        (b"x-api-key", b"k"),
        (b"cookie", b"c=1"),
        (b"content-length", b"2"),
        (b"transfer-encoding", b"chunked"),
        (b"accept-encoding", b"gzip, br"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x-fleet-dedup", b"off"),
        (b"expect", b"100-continue"),
    )
    assert for_upstream(sent, login=False) == ((b"accept-encoding", b"identity"),)


def test_a_login_of_the_client_passes_when_it_may() -> None:
    sent = ((b"authorization", b"Bearer own"), (b"anthropic-beta", b"oauth"))
    assert (b"authorization", b"Bearer own") in for_upstream(sent, login=True)


def test_headers_named_for_one_hop_end_here() -> None:
    sent = ((b"connection", b"close, x-secret"), (b"x-secret", b"1"), (b"x-other", b"2"))
    assert for_upstream(sent, login=False) == (
        (b"x-other", b"2"),
        (b"accept-encoding", b"identity"),
    )
    assert for_client(sent) == ((b"x-other", b"2"),)


def test_an_agent_gets_no_cookies_and_no_foreign_framing() -> None:
    sent = (
        (b"content-type", b"application/json"),
        (b"set-cookie", b"a=b"),
        (b"content-length", b"10"),
        (b"anthropic-ratelimit-requests-remaining", b"4"),
    )
    assert for_client(sent) == (sent[0], sent[3])
