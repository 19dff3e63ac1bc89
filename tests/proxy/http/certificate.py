"""A certificate for 127.0.0.1 and localhost that nobody trusts: TEST ONLY, its key is public."""

from __future__ import annotations

import ssl
from pathlib import Path

KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCwvLaWGQVJzZ2KbR
tTtfCaGjaljwaLucFMo6OGVIewqhRANCAAQ+7M4krtwz7yR0/zPF7zVu81BAcBNS
HMgVGu/r7jjfmnW4SY6Z2EYTRSYqyiGtpwGGzJs86ovoIK4WfeQUbCPD
-----END PRIVATE KEY-----
"""
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBczCCARmgAwIBAgIBATAKBggqhkjOPQQDAjAaMRgwFgYDVQQDDA9mbGVldCB0
ZXN0IG9ubHkwIBcNMjAwMTAxMDAwMDAwWhgPMjEwMDAxMDEwMDAwMDBaMBoxGDAW
BgNVBAMMD2ZsZWV0IHRlc3Qgb25seTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BD7sziSu3DPvJHT/M8XvNW7zUEBwE1IcyBUa7+vuON+adbhJjpnYRhNFJirKIa2n
AYbMmzzqi+ggrhZ95BRsI8OjTjBMMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAA
ATAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBRKspKvYBy/1403gUxPnVjwfIuF
uDAKBggqhkjOPQQDAgNIADBFAiEA2bTGY/uQsj1LbnBA3jJ97RbBum+Xvpdve1MU
Hpj6oAMCIEtgxC7AIOt6C6whgpXs0bUFRU1JF2/ynZ3roCr/M15F
-----END CERTIFICATE-----
"""


def server_side(folder: Path, protocols: list[str]) -> ssl.SSLContext:
    path = folder / "test-only.pem"
    path.write_text(KEY + CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_alpn_protocols(protocols)
    return context


def client_side() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CERTIFICATE)
