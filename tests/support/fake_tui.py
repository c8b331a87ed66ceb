"""A terminal program with Codex's composer, for tests that control when it does what.

Run as `python fake_tui.py ROLLOUT SUBMITTED CONTROL`. It appends each message that is submitted to ROLLOUT, as Codex
does, and to SUBMITTED as one line of JSON. The file CONTROL, if it exists, has words that change its behavior:

* `lose` ignores the next Enter and removes the word
* `ignore` ignores all keys
* `dialog` shows a dialog
* `slow` records a message after 2 s
"""

import json
import os
import select
import sys
import termios
import time
import tty
from pathlib import Path

PASTE, PASTE_END = b"\x1b[200~", b"\x1b[201~"
CLEAR = "\x1b[H\x1b[2J"


class Composer:
    def __init__(self, rollout: Path, submitted: Path, control: Path) -> None:
        self.rollout, self.submitted, self.control = rollout, submitted, control
        self.text, self.keys, self.history = "", b"", list[str]()
        self.recorded: list[tuple[float, str]] = []
        self.shown = ""

    def words(self) -> list[str]:
        return self.control.read_text().split() if self.control.exists() else []

    def draw(self) -> None:
        lines = [f"› {each.splitlines()[0]}" for each in self.history[-5:]]
        if "dialog" in self.words():
            screen = "\r\n".join([*lines, "  Would you like to run the following command?", "› 1. Yes (y)", "  2. No"])
        else:
            first, *others = (self.text or " ").split("\n")
            row = f"› {first[:70]}" if self.text else "\x1b[1m›\x1b[0m \x1b[2mAsk Codex to do anything\x1b[0m"
            screen = "\r\n".join(
                [*lines, "", row, *[f"  {each[:70]}" for each in others[:10]], "", "  gpt-5.5 · ~/work"]
            )
        if screen != self.shown:
            self.shown = screen
            sys.stdout.write(CLEAR + screen)
            sys.stdout.flush()

    def press(self, key: bytes) -> None:
        words = self.words()
        if "dialog" in words:
            return
        if key == b"\r":
            if "lose" in words:
                self.control.write_text(" ".join(word for word in words if word != "lose"))
            elif self.text.strip():
                self.submit(self.text, time.monotonic() + (2 if "slow" in words else 0))
        elif key == b"\x15":
            self.text = ""
        elif key >= b" ":
            self.text += key.decode()

    def submit(self, text: str, at: float) -> None:
        self.text = ""
        self.history.append(text.strip())
        with self.submitted.open("a") as file:
            file.write(json.dumps(text.strip()) + "\n")
        self.recorded.append((at, text.strip()))

    def record(self) -> None:
        for at, text in list(self.recorded):
            if time.monotonic() >= at:
                self.recorded.remove((at, text))
                content = [{"type": "input_text", "text": text}]
                payload = {"type": "message", "role": "user", "content": content}
                line = json.dumps(
                    {"type": "response_item", "payload": payload}, separators=(",", ":"), ensure_ascii=False
                )
                with self.rollout.open("a") as file:
                    file.write(line + "\n")

    def read(self) -> None:
        """Applies the keys that were read completely."""
        while self.keys:
            if self.keys.startswith(PASTE):
                end = self.keys.find(PASTE_END)
                if end < 0:
                    return
                self.text += self.keys[len(PASTE) : end].decode().replace("\r", "\n")
                self.keys = self.keys[end + len(PASTE_END) :]
            elif PASTE.startswith(self.keys[: len(PASTE)]):
                return
            else:
                key, self.keys = self.keys[:1], self.keys[1:]
                self.press(key)

    def run(self) -> None:
        tty.setraw(0, termios.TCSANOW)
        sys.stdout.write("\x1b[?2004h")
        while True:
            self.draw()
            self.record()
            if "ignore" not in self.words() and select.select([0], [], [], 0.01)[0]:
                self.keys += os.read(0, 1 << 20)
                self.read()
            elif "ignore" in self.words():
                time.sleep(0.01)


if __name__ == "__main__":
    Composer(*map(Path, sys.argv[1:4])).run()
