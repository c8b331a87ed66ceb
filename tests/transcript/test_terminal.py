"""`mngr-codex transcript` on a terminal: pager, colors, following, resizing, Ctrl-C."""

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.codex_home import CodexHome
from tests.support.followed_agent import FollowedAgent, append_lines
from tests.support.program import program
from tests.support.rollout_builder import Rollout, uuid7
from tests.support.transcript_records import HEADER, State, step

SECONDS = 20


class Terminal:
    """A shell in a tmux server that only the test uses."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._runs = 0

    def run(self, *words: str, command: str = "transcript", **variables: str) -> None:
        """Types a command that prints its exit status when it ends."""
        self._runs += 1
        settings = "".join(f"{name}={shlex.quote(value)} " for name, value in variables.items())
        line = shlex.join([str(program()), command, *words])
        self.type(f"clear; {settings}{line}; echo run $((0+{self._runs})) exited $?", "Enter")

    def type(self, *keys: str) -> None:
        subprocess.run(["tmux", "send-keys", "-t", self._session, *keys], check=True)

    def resize(self, columns: int, rows: int) -> None:
        size = ("-x", str(columns), "-y", str(rows))
        subprocess.run(["tmux", "resize-window", "-t", self._session, *size], check=True)

    def has_cursor(self) -> bool:
        command = ["tmux", "display-message", "-p", "-t", self._session, "#{cursor_flag}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1"

    def screen(self, *options: str) -> str:
        command = ["tmux", "capture-pane", "-p", *options, "-t", self._session]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def until(self, condition: Callable[[str], bool], *options: str) -> str:
        """Polls until the condition is true for the text on the screen, and returns the text."""
        end = time.monotonic() + SECONDS
        while not condition(text := self.screen(*options)):
            assert time.monotonic() < end, f"timed out after {SECONDS} s:\n{text}"
            time.sleep(0.05)
        return text

    def exited(self, status: int) -> str:
        """Waits until the command exits, which must be with this status."""
        return self.until(lambda text: f"run {self._runs} exited {status}" in text)


@pytest.fixture
def terminal(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, home: CodexHome, host_dir: Path
) -> Iterator[Terminal]:
    for needed in ("tmux", "less"):
        if not shutil.which(needed):
            pytest.skip(f"{needed} is not installed (apt install {needed})")
    monkeypatch.delenv("TMUX", raising=False)
    # The path of a socket is limited in length.
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path_factory.mktemp("t")))
    # The shell has its own home, which it may write to.
    monkeypatch.setenv("HOME", str(host_dir.parent))
    monkeypatch.delenv("HISTFILE", raising=False)
    monkeypatch.setenv("PS1", "$ ")
    monkeypatch.setenv("LANG", "C.UTF-8")
    size = ("-x", "100", "-y", "30")
    subprocess.run(["tmux", "-f", "/dev/null", "new-session", "-d", "-s", "t", *size, "bash", "--norc"], check=True)
    try:
        yield Terminal("t")
    finally:
        subprocess.run(["tmux", "kill-server"], check=True)


@pytest.fixture
def long(state: State) -> State:
    """A session that is longer than the screen."""
    state.write(HEADER, *(step(f"message {number}") for number in range(500)))
    return state


def test_short_output_is_printed_without_a_pager(terminal: Terminal, state: State) -> None:
    terminal.run("fix-it")
    shown = terminal.exited(0)
    assert "first" in shown and "third" in shown
    assert "\x1b[" in terminal.screen("-e")


def test_long_output_goes_through_the_pager(terminal: Terminal, long: State) -> None:
    terminal.run("fix-it")
    shown = terminal.until(lambda text: "message 3" in text)
    assert "exited" not in shown
    terminal.type("G")
    terminal.until(lambda text: "message 499" in text)
    # The pager handles Ctrl-C.
    terminal.type("C-c")
    time.sleep(0.3)
    terminal.type("g")
    terminal.until(lambda text: "message 0" in text)
    terminal.resize(60, 20)
    terminal.until(lambda text: "message 0" in text)
    terminal.type("q")
    terminal.exited(0)


def test_leaving_the_pager_early_is_no_error(terminal: Terminal, state: State) -> None:
    state.write(HEADER, *(step("x" * 1000) for _ in range(20_000)))
    terminal.run("fix-it")
    terminal.until(lambda text: "xxx" in text)
    terminal.type("q")
    assert "mngr-codex" not in terminal.exited(0).partition("exited")[0].splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "variables"),
    [(["--no-pager"], {}), ([], {"PAGER": ""}), ([], {"PAGER": "cat"}), ([], {"PAGER": "no-such-pager"})],
)
def test_the_pager_can_be_switched_off(
    terminal: Terminal, long: State, options: list[str], variables: dict[str, str]
) -> None:
    terminal.run("fix-it", *options, **variables)
    assert "message 499" in terminal.exited(0)


def test_the_users_pager_is_used(terminal: Terminal, long: State) -> None:
    terminal.run("fix-it", PAGER="grep -n 'message 42$'")
    shown = terminal.exited(0)
    assert "message 42" in shown and "message 43" not in shown


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colors_can_be_switched_off(terminal: Terminal, state: State, variables: dict[str, str]) -> None:
    terminal.run("fix-it", "--no-pager", **variables)
    terminal.exited(0)
    assert "\x1b[" not in terminal.screen("-e")


def test_records_are_followed_until_ctrl_c(terminal: Terminal, state: State) -> None:
    terminal.run("fix-it", "--follow")
    terminal.until(lambda text: "third" in text)
    state.append(step("and now"))
    terminal.until(lambda text: "and now" in text)
    terminal.resize(40, 15)
    wide = "\u6f22\u5b57" * 30
    state.append(step(wide))
    # The terminal wraps long lines between two characters.
    shown = terminal.until(lambda text: wide in text.replace("\n", "").replace(" ", ""))
    assert max(map(len, shown.splitlines())) <= 40
    terminal.type("C-c")
    terminal.until(lambda text: "^C" in text)
    # The shell discards other text on that line.
    terminal.type("echo it exited $?", "Enter")
    terminal.until(lambda text: "it exited 130" in text)


def test_what_runs_is_replaced_when_its_record_comes(terminal: Terminal, state: State, tmp_path: Path) -> None:
    """Also if its line is wider than the terminal, and while that is resized."""
    agent = FollowedAgent(tmp_path / "agents")
    path = agent.make_current("1")
    command = "echo " + " ".join(f"word{number}" for number in range(12))
    rollout = Rollout().meta().started().context().user("Begin.").assistant("I begin.").usage()

    def follow(*lines: bytes) -> None:
        append_lines(path, (line + b"\n" for line in lines))
        agent.run_once()
        # The pass removes it, because no hook has begun a turn.
        (agent.state / "active").touch()

    def unwrapped(text: str) -> str:
        return text.replace("\n", "").replace(" ", "")

    follow(*rollout.lines)
    terminal.run(str(agent.state), "--follow")
    terminal.until(lambda text: "I begin." in text)
    rollout.call("first", arguments=json.dumps({"cmd": command}))
    follow(rollout.lines[-1])
    terminal.until(lambda text: "running since" in text)
    for columns, rows in ((50, 12), (38, 20), (100, 30), (60, 20)):
        terminal.resize(columns, rows)
        shown = terminal.until(
            lambda text: text.count("running since") == 1 and unwrapped(f"): {command}") in unwrapped(text)
        )
        assert shown.count("$ echo") == 1
    terminal.until(lambda text: text.count("I begin.") == 1, "-S", "-")
    rollout.output("first", "the output").usage().assistant("My last words.")
    follow(*rollout.lines[-3:])
    shown = terminal.until(lambda text: "My last words." in text, "-S", "-")
    assert "running" not in shown
    assert [shown.count(text) for text in ("  Begin.", "I begin.", "$ echo", "the output", "My last words.")] == [1] * 5
    terminal.type("C-c")
    terminal.type("echo it exited $?", "Enter")
    shown = terminal.until(lambda text: "it exited 130" in text, "-S", "-")
    # They are in no record yet, but stay on the screen.
    assert shown.count("My last words.") == 1


@pytest.fixture
def sessions(home: CodexHome) -> CodexHome:
    """Three sessions and one of a subagent. The last one has a name."""
    for number, text in enumerate(["paint the fence", "fix the \x1b[31mgate", "mow the lawn"]):
        home.add(uuid7(number), text, cwd=f"/garden/{number}")
    home.add(uuid7(8), "help", source={"subagent": {"thread_spawn": {}}})
    home.name(uuid7(2), "The lawn")
    return home


PROMPT = "Session (arrow keys"


def test_a_session_is_chosen_with_the_arrow_keys(terminal: Terminal, sessions: CodexHome) -> None:
    terminal.run("--no-pager")
    shown = terminal.until(lambda text: PROMPT in text and "fence" in text)
    rows = [line.split() for line in shown.splitlines() if "/garden/" in line]
    assert [row[-2:] for row in rows] == [["The", "lawn"], ["the", "^[[31mgate"], ["the", "fence"]]
    assert rows[0][:2] == ["\u276f", "1"] and "/garden/2" in rows[0] and "ago" in rows[0]
    terminal.type("Down", "Enter")
    shown = terminal.exited(0)
    assert "gate" in shown and "fence" not in shown and PROMPT not in shown


def test_a_session_is_chosen_by_text(terminal: Terminal, sessions: CodexHome) -> None:
    terminal.run("--no-pager")
    terminal.until(lambda text: PROMPT in text and "fence" in text)
    terminal.type("fence")
    terminal.until(lambda text: "lawn" not in text)
    terminal.type("Enter")
    assert "paint the fence" in terminal.exited(0)


@pytest.mark.parametrize(("key", "status"), [("Escape", 1), ("C-c", 130)])
def test_the_choice_can_be_cancelled(terminal: Terminal, sessions: CodexHome, key: str, status: int) -> None:
    terminal.run("--output", "/dev/null", command="convert")
    terminal.until(lambda text: PROMPT in text and "fence" in text)
    terminal.type(key)
    if key == "C-c":
        # The shell discards the rest of its line.
        terminal.type("echo it exited $?", "Enter")
        terminal.until(lambda text: "it exited 130" in text)
    else:
        assert "no session was chosen" in terminal.exited(status)
    assert terminal.has_cursor()


def test_lines_of_the_list_fit_on_a_narrow_terminal(terminal: Terminal, sessions: CodexHome) -> None:
    sessions.add(uuid7(9), "\u6f22\u5b57" * 60)
    terminal.resize(40, 12)
    terminal.run("--no-pager")
    shown = terminal.until(lambda text: "Session" in text and "/garden/0" in text)
    assert len([line for line in shown.splitlines() if line.strip()]) == 5
    terminal.type("Escape")
    terminal.exited(1)


def test_the_summary_of_convert_is_shown_on_a_terminal(terminal: Terminal, sessions: CodexHome) -> None:
    terminal.run("latest", "--output", "/dev/null", command="convert")
    assert "records written" in terminal.exited(0)


def test_a_program_is_replaced_by_its_commands_and_answers_are_rendered(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "rollout.jsonl"
    rollout = Rollout().meta().started().context().user("Begin.")
    written = 0

    def write() -> None:
        nonlocal written
        append_lines(path, (line + b"\n" for line in rollout.lines[written:]))
        written = len(rollout.lines)

    write()
    terminal.run(str(path), "--follow")
    terminal.until(lambda text: "  Begin." in text)
    rollout.custom_call("p", input="const r = await tools.exec_command({cmd: 'ls'}); text(r.output)")
    write()
    terminal.until(lambda text: "→ exec const r" in text and "● running since" in text)
    rollout.command("item", ("/bin/bash", "-lc", "ls"), aggregated_output="file\n")
    rollout.custom_output("p", "Script completed\nWall time 0.1 seconds\nOutput:\nfile\n").usage()
    write()
    # Before the next record, which shows that the program ran nothing else.
    shown = terminal.until(lambda text: "  $ ls" in text)
    assert "tools.exec_command" not in shown and shown.count("file") == 1
    rollout.assistant("It **is** there:\n- `file`").usage()
    write()
    shown = terminal.until(lambda text: "  • file" in text, "-S", "-")
    assert "  It is there:" in shown and "tools.exec_command" not in shown
    assert shown.count("  $ ls") == 1 and shown.count("    file") == 1
    assert "\x1b[1mis" in terminal.screen("-e")


def test_without_outputs_nothing_waits_for_them(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "rollout.jsonl"
    rollout = Rollout().meta().started().context().user("Begin.")
    rollout.custom_call("p", input="await tools.exec_command({cmd: 'ls'})").custom_output("p", "ls").usage()
    for number in range(60):
        rollout.assistant(f"message {number}.").usage()
    path.write_bytes(rollout.data)
    terminal.run(str(path), "--follow", "--role", "agent")
    terminal.until(lambda text: "message 59." in text)
    # Lines that may still be replaced are not in the history of the terminal.
    shown = terminal.screen("-S", "-")
    assert "→ exec await" in shown and "message 0." in shown


def test_text_is_filled_to_the_width_of_the_terminal(terminal: Terminal, state: State) -> None:
    words = " ".join(f"word{number}" for number in range(40))
    state.write(HEADER, step(f"{words}\n\n```\n{words}\n```", source="agent"))
    terminal.resize(50, 40)
    terminal.run("fix-it", "--no-pager")
    terminal.exited(0)
    lines = terminal.screen("-J").splitlines()
    prose = [line for line in lines if line.startswith("  word")]
    assert len(prose) > 4 and max(map(len, prose)) <= 50
    # A line of code is not broken, so that it can be copied.
    assert f"    {words}" in lines
