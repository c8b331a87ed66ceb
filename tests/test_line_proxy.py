"""The slow and broken lines of tests, see `tests/support/line_proxy.py`."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.line_proxy import LineProxy


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            while data := self.request.recv(65536):
                self.request.sendall(data)
        except ConnectionError:
            pass


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def connect(proxy: LineProxy) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    connection.settimeout(10)
    return connection


def receive(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length and (data := connection.recv(65536)):
        received += data
    return received


def test_each_direction_is_delayed_and_counted(echo: int) -> None:
    with LineProxy(echo, delay_seconds=0.05) as proxy, connect(proxy) as connection:
        connection.sendall(b"first")
        assert receive(connection, 5) == b"first"
        started = time.monotonic()
        connection.sendall(b"second")
        assert receive(connection, 6) == b"second"
        assert 0.1 <= time.monotonic() - started < 0.5
        assert (proxy.traffic.sent, proxy.traffic.received, proxy.traffic.connections) == (11, 11, 1)


def test_all_bytes_arrive_in_order_with_the_end_after_them(echo: int) -> None:
    sent = b"".join(number.to_bytes(4) for number in range(1_000_000))
    with LineProxy(echo, delay_seconds=0.01) as proxy, connect(proxy) as connection:

        def send() -> None:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = receive(connection, len(sent))
        assert connection.recv(1) == b""
        sender.join()
    assert received == sent


def test_a_reset_reaches_both_sides(echo: int) -> None:
    with LineProxy(echo) as proxy, connect(proxy) as connection:
        connection.sendall(b"before")
        assert receive(connection, 6) == b"before"
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert proxy.traffic.resets == 1
        with connect(proxy) as again:
            again.sendall(b"after")
            assert receive(again, 5) == b"after"


def test_resets_repeat_until_the_end(echo: int) -> None:
    with LineProxy(echo) as proxy:
        with proxy.resetting(seed=1, shortest=0.01, longest=0.03):
            for _ in range(3):
                with connect(proxy) as connection, pytest.raises(ConnectionResetError):
                    connection.recv(1)
        with connect(proxy) as connection:
            time.sleep(0.1)
            connection.sendall(b"after")
            assert receive(connection, 5) == b"after"


def test_a_black_hole_holds_everything_back(echo: int) -> None:
    with LineProxy(echo) as proxy, connect(proxy) as connection:
        connection.sendall(b"before")
        assert receive(connection, 6) == b"before"
        with proxy.black_hole():
            connection.sendall(b"within")
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        connection.settimeout(10)
        assert receive(connection, 6) == b"within"


def test_a_cut_line_refuses_connections(echo: int) -> None:
    with LineProxy(echo) as proxy:
        with connect(proxy) as connection, proxy.cut():
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
            with connect(proxy) as refused, pytest.raises(ConnectionResetError):
                refused.recv(1)
        with connect(proxy) as connection:
            connection.sendall(b"after")
            assert receive(connection, 5) == b"after"


def test_a_client_that_ends_leaves_no_connection(echo: int) -> None:
    with LineProxy(echo) as proxy:
        with connect(proxy) as connection:
            connection.sendall(b"text")
            assert receive(connection, 4) == b"text"
        end = time.monotonic() + 5
        while proxy.reset():
            assert time.monotonic() < end
            time.sleep(0.05)
