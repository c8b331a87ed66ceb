"""The script that starts Codex, run with a fake Codex and a fake native program."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mngr_codex.plugin import launch, paths

SESSION = "01a216be-b0ac-7de1-b797-a17b3106c1df"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory whose name needs quoting."""
    state = tmp_path / "an agent's dir"
    (state / "commands").mkdir(parents=True)
    return state


def start(
    state: Path,
    *arguments: str,
    has_program: bool = True,
    codex_script: str = "sleep 0.3",
    program_script: str = "",
    status: int = 0,
) -> dict[str, list[str]]:
    """Runs the launcher; returns the arguments of the fake programs and the output on standard output and error."""
    log = state / "log"
    log_call = f'printf "%s\\n" "$(basename "$0") $*" >>"{log}"\n'
    codex = state / "codex-of-the-user"
    codex.write_text(f'#!/bin/sh\n{log_call}echo "home=$CODEX_HOME pid=$$" >>"{log}"\n{codex_script}\n')
    codex.chmod(0o755)
    program = state / paths.PROGRAM
    if has_program:
        program.write_text(f"#!/bin/sh\n{log_call}{program_script}\n")
        program.chmod(0o755)
    launcher = state / paths.LAUNCHER
    launcher.write_text(
        launch.launcher_script(state, f"'{str(codex).replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'")
    )
    launcher.chmod(0o755)
    environment = {**os.environ, "HOME": str(state)}
    environment.pop("CODEX_HOME", None)
    ran = subprocess.run(
        [launcher, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        cwd=state,
        timeout=20,
        start_new_session=True,
    )
    assert ran.returncode == status, ran.stderr
    lines = log.read_text().splitlines()
    return {
        "codex": [line.partition(" ")[2] for line in lines if line.startswith("codex-of-the-user")],
        "program": [line.partition(" ")[2] for line in lines if line.startswith("mngr-codex ")],
        "seen": [line for line in lines if line.startswith("home=")],
        "stdout": ran.stdout.splitlines(),
        "stderr": ran.stderr.splitlines(),
    }


def begin_session(state: Path, name: str = f"rollout-2026-01-05T10-00-00-{SESSION}.jsonl") -> None:
    (state / paths.ROOT_SESSION).write_text(f"{SESSION}\n")
    folder = state / paths.SESSIONS / "2026/01/05"
    folder.mkdir(parents=True)
    (folder / name).write_text("{}\n")


def test_a_first_start(state: Path) -> None:
    ran = start(state, "--search", "two words")
    assert ran["codex"] == ["--search two words"]
    (seen,) = ran["seen"]
    home, _, pid = seen.removeprefix("home=").rpartition(" pid=")
    assert home == str(state / paths.CODEX_HOME)
    # The marker is reset first, and the watcher gets the process id that Codex has.
    assert sorted(ran["program"]) == ["marker reset", f"watch --with-pid {pid}"]
    assert ran["program"][0] == "marker reset"


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst", "_01a2.jsonl"])
def test_a_session_is_resumed(state: Path, suffix: str) -> None:
    begin_session(state, f"rollout-2026-01-05T10-00-00-{SESSION}{suffix}")
    (call,) = start(state, "--search")["codex"]
    assert call == f"resume {SESSION} -C {state} --search"


def test_a_session_without_a_rollout_is_not_resumed(state: Path) -> None:
    (state / paths.ROOT_SESSION).write_text(SESSION)
    ran = start(state)
    assert ran["codex"] == [""]
    assert ran["stderr"] == [
        f"mngr-codex: cannot resume session {SESSION}: its rollout is missing, so Codex starts a new session"
    ]


@pytest.mark.parametrize("content", ["", "\n", "$(touch made)\n", "../../etc\n", "--last\n* *\n"])
def test_an_invalid_session_file_is_ignored(state: Path, content: str) -> None:
    begin_session(state)
    (state / paths.ROOT_SESSION).write_text(content)
    ran = start(state)
    assert len(ran["codex"]) == 1 and not ran["codex"][0].startswith("resume")
    assert not (state / "made").exists()


def test_without_the_program(state: Path) -> None:
    ran = start(state, has_program=False)
    assert ran["program"] == []
    assert len(ran["codex"]) == 1


def test_the_command_is_named_codex(state: Path) -> None:
    command = launch.launch_command(state, ("--model", "x"))
    assert (
        command
        == f"'{str(state).replace(chr(39), chr(39) + chr(34) + chr(39) + chr(34) + chr(39))}/commands/codex' --model x"
    )


def stderr_log(state: Path) -> list[str]:
    return (state / paths.STDERR_LOG).read_text().splitlines()


def test_standard_error_goes_to_the_log_and_to_the_terminal(state: Path) -> None:
    """Standard output does not, and the exit status is that of Codex. The log has only the last start."""
    for name in ("first", "second"):
        ran = start(state, codex_script=f"echo out; echo '{name} error' >&2; exit 3", status=3)
        assert (ran["stdout"], ran["stderr"]) == (["out"], [f"{name} error"])
        # `subprocess.run` has waited for the end of standard error, and so for the process that writes the log.
        assert stderr_log(state) == [f"{name} error"]
    assert not (state / paths.STDERR_PIPE).exists()


def test_errors_of_the_launcher_and_the_watcher_are_in_the_log(state: Path) -> None:
    """Those of the watcher are not on the terminal, which shows the TUI."""
    (state / paths.ROOT_SESSION).write_text(SESSION)
    ran = start(state, program_script='case $1 in watch) echo "watcher error" >&2 ;; esac')
    (warning,) = ran["stderr"]
    assert "cannot resume session" in warning
    assert sorted(stderr_log(state)) == sorted([warning, "watcher error"])


def test_no_process_is_left(state: Path) -> None:
    """The process that writes the log exits with Codex, also if a signal ends it."""
    ran = start(state, codex_script="trap '' HUP; kill -HUP 0; echo last >&2; sleep 0.3; kill -9 $$", status=-9)
    assert ran["stderr"] == ["last"] == stderr_log(state)
    left = subprocess.run(["pgrep", "-f", str(state / paths.STDERR_LOG)], capture_output=True, text=True)
    assert left.stdout == ""


def test_the_log_is_bounded_while_codex_runs(state: Path) -> None:
    """It ends with the latest lines. The terminal gets all of them."""
    lines = 150_000
    write = f"awk 'BEGIN {{ for (i = 1; i <= {lines}; i++) printf \"line %d of the errors\\n\", i }}' >&2"
    ran = start(state, codex_script=f"{write}; echo last >&2")
    assert ran["stderr"] == [*(f"line {number} of the errors" for number in range(1, lines + 1)), "last"]
    assert (state / paths.STDERR_LOG).stat().st_size <= 1_024_000
    assert stderr_log(state)[-1] == "last"


def test_a_killed_log_writer_does_not_break_standard_error(state: Path) -> None:
    find = f"pgrep -f 'tee -a .*{state.name.partition(chr(39))[2]}'"
    kill = f"until pid=$({find}); do sleep 0.1; done; kill -9 $pid; sleep 0.3"
    ran = start(state, codex_script=f"{kill}; echo late >&2 || exit 9; exit 3", status=3)
    assert ran["stderr"] == ["late"]
    left = subprocess.run(["pgrep", "-f", str(state / paths.LAUNCHER)], capture_output=True, text=True)
    assert left.stdout == ""


@pytest.mark.parametrize(
    "script", [None, "not a program", "#!/missing/shell\n", "#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -9 $$\n"]
)
def test_codex_starts_without_tee(state: Path, monkeypatch: pytest.MonkeyPatch, script: str | None) -> None:
    folder = state / "bin"
    folder.mkdir()
    if script is None:
        for name in ("env", "sh", "sleep", "mkdir", "mkfifo", "rm", "basename", "wc", "find"):
            (folder / name).symlink_to(str(shutil.which(name)))
        monkeypatch.setenv("PATH", str(folder))
    else:
        tee = folder / "tee"
        tee.write_text(script)
        tee.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    ran = start(state, codex_script="sleep 0.3; echo out; echo one >&2; echo two >&2; exit 3", status=3)
    assert (ran["stdout"], ran["stderr"]) == (["out"], ["one", "two"])


@pytest.mark.parametrize("name", [paths.STARTED, paths.PROCESS_STARTED, paths.STDERR_PIPE])
def test_codex_starts_if_a_file_cannot_be_written(state: Path, name: str) -> None:
    (state / name).mkdir(parents=True)
    ran = start(state, codex_script="echo error >&2")
    assert ran["stderr"][-1] == "error" and len(ran["codex"]) == 1


def test_codex_starts_without_a_log(state: Path) -> None:
    (state / paths.STDERR_LOG).mkdir()
    ran = start(state, codex_script="echo error >&2")
    assert ran["stderr"][-1] == "error" and len(ran["program"]) == 2


def test_each_start_touches_the_file_of_the_last_start(state: Path) -> None:
    file = state / paths.PROCESS_STARTED
    start(state)
    assert file.name == "codex_process_started"
    os.utime(file, (1, 1))
    start(state)
    assert file.stat().st_mtime > 1


def test_another_command_than_in_the_settings(state: Path) -> None:
    """It is an argument of the script, so that it is kept when mngr starts the agent again."""
    begin_session(state)
    other = state / "another codex"
    other.write_text(f'#!/bin/sh\nprintf "%s\\n" "$X" "$CODEX_HOME" "$@" >"{state / "seen"}"\n')
    other.chmod(0o755)
    command = f"X='a b' {shlex.quote(str(other))} --search"
    launched = launch.launch_command(state, ("'two words'",), command)
    assert launched.split("/commands/", 1)[1].startswith("codex")
    arguments = shlex.split(launched)[1:]
    ran = start(state, *arguments)
    assert ran["codex"] == []
    resumed = ["--search", "resume", SESSION, "-C", str(state), "two words"]
    assert (state / "seen").read_text().splitlines() == ["a b", str(state / paths.CODEX_HOME), *resumed]


def test_arguments_that_any_command_gets(tmp_path: Path) -> None:
    launcher = tmp_path / "codex"
    launcher.write_text(launch.launcher_script(tmp_path, "printf '%s\n' one", ("--two",)))
    for words in ([], ["--mngr-codex-command", "printf '%s\n' one"]):
        ran = subprocess.run(["sh", launcher, *words, "three four"], capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines() == ["one", "--two", "three four"]


@pytest.mark.parametrize("name", ["{state}/commands/codex", "./codex", "{link}", "{elsewhere}/commands/codex"])
def test_a_moved_state_directory_is_found(state: Path, tmp_path: Path, name: str) -> None:
    """The script finds it from its own path, also through a symlink."""
    moved = tmp_path / "moved here"
    (state / "plugin/codex").mkdir(parents=True)
    (state / paths.LAUNCHER).write_text(launch.launcher_script(state, "sh -c 'echo \"$CODEX_HOME\"'"))
    (state / paths.LAUNCHER).chmod(0o755)
    state.rename(moved)
    (tmp_path / "link").symlink_to(moved / paths.LAUNCHER)
    (tmp_path / "elsewhere/commands").mkdir(parents=True)
    (tmp_path / "elsewhere/commands/codex").symlink_to(moved / paths.LAUNCHER)
    command = name.format(state=moved, link=tmp_path / "link", elsewhere=tmp_path / "elsewhere")
    ran = subprocess.run([command], capture_output=True, text=True, cwd=moved / "commands", timeout=20)
    assert ran.stdout.strip() == str(moved / paths.CODEX_HOME), ran.stderr
    assert not state.exists()


def test_without_its_own_path_the_script_uses_the_recorded_one(state: Path) -> None:
    (state / "plugin/codex").mkdir(parents=True)
    script = launch.launcher_script(state, "sh -c 'echo \"$CODEX_HOME\"'")
    ran = subprocess.run(["sh", "-c", script, "sh"], capture_output=True, text=True, timeout=20)
    assert ran.stdout.strip() == str(state / paths.CODEX_HOME), ran.stderr


@pytest.mark.parametrize("command", ["codex", "env A='b c' codex", "/home/a user/.local/bin/codex"])
def test_the_command_in_a_script_is_found(command: str) -> None:
    assert launch.command_in(launch.launcher_script(Path("/state"), command)) == command
    assert launch.command_in("#!/bin/sh\n") is None
