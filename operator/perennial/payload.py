"""Bodies of requests as they were before their Content-Encoding.

aiohttp would decode them itself, but where it can't, it drops the connection without an answer, and a router makes a
503 of that: the client's mistake would be the version's. So the programs turn that off (`auto_decompress`) and decode
here.
"""

import zlib

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class PayloadError(Exception):
    """The body can't be decoded. `status` is HTTP's for it, the message one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def decoded(body: bytes, encoding: str, most: int) -> bytes:
    """Return a body of at most `most` bytes, decoded as `encoding` (the header's value) says. Raises PayloadError."""
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip" | "deflate":
            stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        case _:
            raise PayloadError(415, "the body: must be plain, or encoded with gzip or deflate")
    try:
        plain = stream.decompress(body, most + 1)
    except zlib.error as error:
        raise PayloadError(400, "the body: must be encoded as its Content-Encoding says") from error
    if len(plain) > most:
        raise PayloadError(413, f"the body: must have at most {most:,} bytes")
    if not stream.eof or stream.unused_data:
        raise PayloadError(400, "the body: must be encoded as its Content-Encoding says")
    return plain
