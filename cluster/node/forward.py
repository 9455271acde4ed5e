"""Connects the host's loopback interface with the API server inside the namespaces.

The listening socket is made on the host and inherited: a socket stays in the network namespace that it was made in.
So one process sees both sides, no packet crosses, and the port is closed when the namespaces end.
"""

import asyncio
import socket
import sys

from cluster.node.settings import APISERVER_PORT

_CHUNK = 1 << 16


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


async def _connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        inside_reader, inside_writer = await asyncio.open_connection("127.0.0.1", APISERVER_PORT)
    except OSError:  # the API server is starting
        writer.close()
        return
    try:
        await asyncio.gather(_copy(reader, inside_writer), _copy(inside_reader, writer))
    finally:
        inside_writer.close()
        writer.close()


async def _serve(descriptor: int) -> None:
    server = await asyncio.start_server(_connect, sock=socket.socket(fileno=descriptor))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
