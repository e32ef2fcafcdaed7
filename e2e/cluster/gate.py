"""A gate before a registry: what comes back through it comes only so fast as a file says, in bytes a second.

It runs by its path, with nothing but the standard library. Its arguments are the address to listen at, the registry's
and the file; while the file says 0, nothing comes.
"""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

_CHUNK = 16384


async def main() -> None:
    address, registry, file = sys.argv[1:4]
    gate = Gate(registry, Path(file))
    host, port = address.split(":")
    async with await asyncio.start_server(gate.pass_through, host, int(port)) as server:
        print("open", flush=True)
        await server.serve_forever()


class Gate:
    """All connections together get the rate."""

    def __init__(self, registry: str, rate: Path) -> None:
        self._registry = registry.split(":")
        self._rate = rate
        self._turn = asyncio.Lock()

    async def pass_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._registry
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        with suppress(ConnectionError):
            await asyncio.gather(self._copy(reader, far_writer), self._copy_slowly(far_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                writer.write(chunk)
                await writer.drain()
        finally:
            writer.close()

    async def _copy_slowly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                async with self._turn:
                    await self._wait(len(chunk))
                writer.write(chunk)
                await writer.drain()
        finally:
            writer.close()

    async def _wait(self, size: int) -> None:
        """Until so many bytes may pass; a rate that is changed meanwhile counts at once."""
        waited = 0.0
        while (rate := int(self._rate.read_text(encoding="ascii") or 0)) == 0 or waited < size / rate:
            pause = 0.05 if rate == 0 else min(0.05, size / rate - waited)
            await asyncio.sleep(pause)
            waited += pause if rate else 0


if __name__ == "__main__":
    asyncio.run(main())
