"""`mngr-codex hooks install` and `status` with a Codex that runs without mngr."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from scripted_model import Failure, Json, Response
from tests.support.codex_user import CodexUser
from tests.support.machine import until
from tests.support.program import program
from tests.support.rule_based_model import Model, says

type MakeUser = Callable[..., CodexUser]


@pytest.fixture
def make_user(codex: Path, folder: Path, model: Model) -> Iterator[MakeUser]:
    """Creates a user, whose processes are killed at the end."""
    users: list[CodexUser] = []

    def make(*, has_daemon: bool) -> CodexUser:
        users.append(CodexUser(codex, folder, model.base_url, has_daemon=has_daemon))
        return users[-1]

    yield make
    for user in users:
        user.kill_processes()


@pytest.fixture
def release(model: Model) -> Iterator[Event]:
    """Lets the model answer messages with the word `slow`."""
    released = Event()

    def answer(request: Json) -> Response:
        released.wait(60)
        return says("It took a while.")

    model.on("slow", answer)
    yield released
    released.set()


def has_daemon(codex: Path) -> bool:
    return subprocess.run([codex, "app-server", "daemon", "--help"], capture_output=True).returncode == 0


def test_the_sessions_of_a_daemon_are_listed_wherever_it_was_started(
    codex: Path, make_user: MakeUser, folder: Path, release: Event
) -> None:
    """The daemon runs the hooks of all sessions, in the environment in which it was started."""
    if not has_daemon(codex):
        pytest.skip("this Codex has no daemon (0.163 is the first version that has one)")
    user = make_user(has_daemon=True)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    daemon = user.start_daemon(
        elsewhere, MNGR_AGENT_STATE_DIR=str(elsewhere), XDG_STATE_HOME=str(elsewhere), PATH="/usr/bin:/bin"
    )
    user.install_hooks()
    other = user.environment(XDG_STATE_HOME=str(folder / "none"), TERM="dumb", MNGR_HOST_DIR=str(folder / "none"))
    with user.tui("one", reviews_hooks=True) as one:
        user.prompt(one, "slow one")
        until(lambda: user.states(environment=other) == {"one": "RUNNING"}, description="the first session")
        with user.tui("two", XDG_STATE_HOME=str(folder / "third")) as two:
            user.prompt(two, "slow two")
            both = {"one": "RUNNING", "two": "RUNNING"}
            until(lambda: user.states(environment=other) == both, description="both sessions")
            assert user.daemons() == [daemon]
            release.set()
            waiting = {"one": "WAITING", "two": "WAITING"}
            until(lambda: user.states(environment=other) == waiting, description="the ends of both turns")
            for screen in (one, two):
                screen.until(lambda text: "It took a while." in text)
        # The daemon keeps a session whose TUI was left.
        assert user.states() == waiting
        [first, second] = user.status(environment=other)
    assert {first["waiting_reason"], second["waiting_reason"]} == {"END_OF_TURN"}
    assert datetime.now(UTC) - datetime.fromisoformat(first["since"]) < timedelta(minutes=1)
    for session in (first, second):
        assert session["session_id"] in session["transcript_path"] and Path(session["transcript_path"]).exists()
        assert Path(session["state_dir"]).name == session["session_id"]
        assert Path(session["state_dir"]).is_relative_to(user.home / ".local/state/mngr-codex/sessions")
    assert not any(elsewhere.iterdir())
    os.kill(daemon, signal.SIGKILL)
    until(lambda: user.states(environment=other) == {}, description="the end of the daemon")
    assert user.states("--all") == {"one": "ENDED", "two": "ENDED"}


def test_states_that_no_hook_reports_are_shown(make_user: MakeUser, folder: Path, model: Model, release: Event) -> None:
    """A failed turn ends without a hook, and so does a Codex that is killed."""
    user = make_user(has_daemon=False)
    user.install_hooks()
    output = folder / "changes"

    def changes() -> list[str]:
        states = [json.loads(line)["state"] for line in output.read_text().splitlines()]
        # The first turn fails within milliseconds, so it may not be seen running.
        return states[1:] if states[:2] == ["RUNNING", "WAITING"] else states

    def await_changes(*states: str) -> None:
        until(lambda: changes() == list(states), description=f"the changes {states}")

    with output.open("wb") as file:
        follower = subprocess.Popen([program(), "status", "--follow", "--json"], env=user.environment(), stdout=file)
    try:
        with user.tui("one", reviews_hooks=True) as screen:
            model.on("broken", Failure(400))
            user.prompt(screen, "broken")
            await_changes("WAITING")
            assert user.states() == {"one": "WAITING"}
            user.prompt(screen, "slow")
            await_changes("WAITING", "RUNNING")
            assert user.states() == {"one": "RUNNING"}
            for process in user.processes(executable="codex"):
                os.kill(process, signal.SIGKILL)
            await_changes("WAITING", "RUNNING", "ENDED")
        assert user.states() == {} and user.states("--all") == {"one": "ENDED"}
    finally:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == -signal.SIGINT
