"""A TCP proxy on loopback whose line is slow, breaks, or goes silent, for tests and benches of remote hosts."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

_CHUNK_BYTES = 2**16
_QUEUED_CHUNKS = 64
"""What a direction holds back at most, 4 MiB, before its sender has to wait."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""`SO_LINGER` with a time of 0 s, so that closing the socket resets the connection."""


@dataclass
class Traffic:
    """What has passed since the proxy was started."""

    sent: int = 0
    """Bytes towards the host."""
    received: int = 0
    """Bytes from the host."""
    connections: int = 0
    resets: int = 0
    """Connections that were reset by the proxy."""


class _Connection:
    """A connection of a client, and the one to the host that belongs to it."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.writers = list(writers)

    def reset(self) -> None:
        for writer in self.writers:
            connection: socket.socket | None = writer.get_extra_info("socket")
            if connection is not None and connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()


class LineProxy:
    """The proxy. Runs in its own thread between `__enter__` and `__exit__`.

    A connection that one side resets is reset on the other side too, and the end of one direction is passed on after
    the bytes before it. So a program behind the proxy sees what it would see without it, only later.
    """

    def __init__(self, target_port: int, *, delay_seconds: float = 0.0) -> None:
        """Prepares a proxy to a port on loopback, which delays each direction by this time."""
        self.traffic = Traffic()
        self.port = 0
        """The port that clients connect to, known after `__enter__`."""
        self._target_port = target_port
        self.delay_seconds = delay_seconds
        """The delay of bytes that arrive from now on."""
        self._live: set[_Connection] = set()
        self._is_refusing = False

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="line proxy", daemon=True)
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    # -- faults

    def reset(self) -> int:
        """Resets all connections, and returns how many there were."""
        return self._call(self._reset_all)

    @contextmanager
    def resetting(self, seed: int, shortest: float, longest: float) -> Iterator[None]:
        """Resets all connections again and again, after pauses of `shortest` to `longest` seconds.

        The same seed gives the same pauses.
        """
        pauses = random.Random(seed)
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(pauses.uniform(shortest, longest)):
                self.reset()

        thread = threading.Thread(target=run, name="resets", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def black_hole(self) -> Iterator[None]:
        """Lets nothing through, as if all packets were lost. Afterwards the bytes that were held back arrive."""
        self._call(self._open_line.clear)
        try:
            yield
        finally:
            self._call(self._open_line.set)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Resets all connections and refuses new ones."""

        def refuse(is_refusing: bool) -> None:
            self._is_refusing = is_refusing
            self._reset_all()

        self._call(lambda: refuse(True))
        try:
            yield
        finally:
            self._call(lambda: refuse(False))

    def _call[T](self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return self._run(call())

    def _reset_all(self) -> int:
        connections = list(self._live)
        for connection in connections:
            connection.reset()
        self.traffic.resets += len(connections)
        return len(connections)

    # -- the line

    async def _listen(self) -> None:
        self._open_line = asyncio.Event()
        self._open_line.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        self._reset_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = _Connection(writer)
        self._live.add(connection)
        self.traffic.connections += 1
        try:
            if self._is_refusing:
                return
            # The handshake of TCP takes a round trip, but the kernel answers it at once here.
            await asyncio.sleep(2 * self.delay_seconds)
            await self._open_line.wait()
            host_reader, host_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            connection.writers.append(host_writer)
            for each in connection.writers:
                each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, host_writer, is_sent=True))
                group.create_task(self._pass(host_reader, writer, is_sent=False))
            for each in connection.writers:
                each.close()
                await each.wait_closed()
            connection.writers.clear()
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # one side has reset the connection, the host refuses it, or the proxy ends
        finally:
            connection.reset()
            self._live.discard(connection)
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_sent: bool) -> None:
        """Passes on the bytes of one direction, each after the delay, until its end."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED_CHUNKS)

        async def read() -> None:
            while True:
                data = await reader.read(_CHUNK_BYTES)
                await queue.put((self._loop.time() + self.delay_seconds, data))
                if not data:
                    return

        async def write() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(due - self._loop.time())
                await self._open_line.wait()
                if not data:
                    if writer.can_write_eof():
                        writer.write_eof()
                    return
                if is_sent:
                    self.traffic.sent += len(data)
                else:
                    self.traffic.received += len(data)
                writer.write(data)
                await writer.drain()

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(write())
