"""Runs mngr commands in forks of a process that has imported mngr once.

    python mngr_server.py SOCKET

Each connection sends one line, `{"arguments": [...], "environment": {...}, "folder": "...", "stdout": "...", "stderr":
"...", "prelude": "..."}`, and receives the exit status and the seconds of CPU time after the command. The prelude is
Python code that runs before the command. A command takes 0.2 s this way, and 1.5 s in a new process.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from typing import Any

from imbue.mngr.main import cli


def serve(path: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(16)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                os._exit(run(connection))
            connection.close()


def run(connection: socket.socket) -> int:
    with connection.makefile() as lines:
        line = lines.readline()
    if not line:  # a check whether the server is running
        return 0
    # A command may replace itself with another program, so another process waits for its end.
    if (command := os.fork()) == 0:
        os._exit(run_command(json.loads(line)))
    _, how, usage = os.wait4(command, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(how)} {usage.ru_utime + usage.ru_stime}\n".encode())
    return 0


def run_command(request: dict[str, Any]) -> int:
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    for name, descriptor in (("/dev/null", 0), (request["stdout"], 1), (request["stderr"], 2)):
        opened = os.open(name, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    status: int | str | None = 1
    sys.argv = ["mngr", *request["arguments"]]
    try:
        exec(request["prelude"], globals())
        cli(request["arguments"], prog_name="mngr")
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
    return status if isinstance(status, int) else int(status is not None)


if __name__ == "__main__":
    serve(sys.argv[1])
