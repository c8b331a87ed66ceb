"""Ports on loopback for servers that the tests start."""

import random
import socket

#: Below the ports that the system chooses for connections, on Linux and macOS.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Returns a port that stays free until the server listens, and while it is down.

    The system never chooses it for a connection of another test that is running at the same time.
    """
    # `random` itself may have a fixed seed.
    choose = random.SystemRandom().choice
    while True:
        port = choose(PORTS)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
