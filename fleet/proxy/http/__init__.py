"""HTTP/1.1 for the proxy, both sides: asyncio protocols on httptools."""
