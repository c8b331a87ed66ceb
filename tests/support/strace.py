"""Lists the program's system calls with strace, and kills it at any of them."""

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.program import program


class TracedCommand:
    """A command of the program that runs under strace."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], stdin: bytes = b"") -> None:
        self._arguments = arguments
        self._environment = environment
        self._stdin = stdin

    def run(self, options: list[str]) -> int:
        command = ["strace", "-f", "-qq", *options, str(program()), *self._arguments]
        done = subprocess.run(command, input=self._stdin, capture_output=True, env=self._environment, timeout=60)
        return done.returncode

    def calls(self, log: Path, first: str = "") -> Iterator[tuple[str, int]]:
        """Yields the system calls of the command, each with its number among those of the same name.

        Calls before the first that contains the text `first` are skipped. strace writes to the file `log`.
        """
        assert self.run(["-o", str(log)]) == 0
        counts: Counter[str] = Counter()
        is_begun = False
        for name, rest in re.findall(r"^\d+ +(\w+)(\(.*)", log.read_text(errors="replace"), re.MULTILINE):
            counts[name] += 1
            is_begun = is_begun or first in name + rest
            # The first `execve` starts the program itself.
            if is_begun and name != "execve":
                yield name, counts[name]

    def kill(self, name: str, number: int) -> None:
        """Runs the command, and kills it at one of its system calls."""
        status = self.run(["-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}"])
        assert status == -signal.SIGKILL, (name, number)
