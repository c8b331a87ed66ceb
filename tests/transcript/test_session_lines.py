"""The lines about the session in the human-readable form: what it was, and what it took."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.support.followed_agent import FollowedAgent, append_lines
from tests.support.program import run
from tests.support.recordings import DATA, all_recordings, lines_of, name, session_meta
from tests.support.rollout_builder import Rollout
from tests.support.session_cost import session_cost
from tests.support.transcript_records import HEADER, State, step

TOOLS = DATA / "0.171.0" / "tui_compact.jsonl"


def shown(*arguments: str | Path, **variables: str) -> list[str]:
    done = run("transcript", *arguments, env={**os.environ, **variables})
    assert (done.status, done.stderr) == (0, ""), done
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize("path", all_recordings(), ids=name)
def test_the_last_line_is_what_the_session_cost(path: Path) -> None:
    output = run("transcript", path).stdout.decode().splitlines()
    if not output:
        return
    numbers = {
        unit: int(count.replace(",", ""))
        for count, unit in re.findall(r"([\d,]+) (tokens in|cached|out|model call)", output[-1])
    }
    cost = session_cost(lines_of(path))
    assert output[-1].startswith("total: ")
    assert tuple(numbers.get(unit, 0) for unit in ("tokens in", "cached", "out")) == cost
    assert (numbers.get("model call", 0) > 0) == (cost[0] > 0)


@pytest.mark.parametrize("path", [path for path in all_recordings() if path.parent.name != "mixed"], ids=name)
def test_the_first_line_names_the_session(path: Path) -> None:
    output = run("transcript", path).stdout.decode().splitlines()
    if not output:
        return
    meta = session_meta(path)
    branch = (meta.get("git") or {}).get("branch")
    place = f"{meta['cwd']} ({branch})" if branch else meta["cwd"]
    assert re.match(rf"(session|subagent) {meta['id']} in {re.escape(place)}, Codex {path.parent.name}\b", output[0])


@pytest.mark.parametrize(
    ("options", "has_first", "has_last"),
    [
        ([], True, True),
        (["--full"], True, True),
        (["--tail", "2"], True, False),
        (["--head", "2"], True, False),
        (["--role", "user"], False, False),
        (["--role", "user", "--tail", "1"], False, False),
    ],
)
def test_an_extract_has_no_totals(options: list[str], has_first: bool, has_last: bool) -> None:
    output = shown(TOOLS, *options)
    assert output[0].startswith("session ") == has_first
    assert output[-1].startswith("total: ") == has_last


def test_other_formats_have_neither(state: State) -> None:
    for form in ("json", "jsonl", "atif"):
        output = "\n".join(shown(TOOLS, "--format", form))
        assert "total: " not in output and "session 01a" not in output


class TestAgent:
    """The transcript of an agent."""

    @pytest.fixture
    def agent(self, tmp_path: Path) -> FollowedAgent:
        agent = FollowedAgent(tmp_path / "agents")
        lines = Rollout().meta().started().context().user("Say hi.").assistant("Hi.").usage().lines
        rollout = agent.make_current("1")
        append_lines(rollout, (line + b"\n" for line in lines))
        agent.run_once()
        (agent.state / "codex_transcript_path").write_text(f"{rollout}\n")
        return agent

    def test_its_rollout_describes_it(self, agent: FollowedAgent) -> None:
        output = shown(agent.state)
        assert re.fullmatch(r"session \S+, Codex \S+, gpt-5.5: Say hi\.", output[0])
        assert re.fullmatch(r"total: 1 turn, 1 model call, .*, 100 tokens in \(10 cached\), 5 out", output[-1])

    def test_its_raw_transcript_describes_it_if_the_rollout_is_gone(self, agent: FollowedAgent) -> None:
        before = shown(agent.state)
        agent.make_current("1").unlink()
        assert shown(agent.state) == before

    def test_a_clone_is_in_its_own_folder(self, agent: FollowedAgent) -> None:
        (original := agent.state.parent / "original").mkdir()
        (link := agent.state.parent / "link").symlink_to(original)
        rollout = agent.make_current("1")
        first, *rest = rollout.read_text().splitlines(keepends=True)
        meta = json.loads(first)
        meta["payload"] |= {"cwd": str(original), "git": {"branch": "main"}}
        rollout.write_text("".join([json.dumps(meta) + "\n", *rest]))
        for folder, place in ((original, f"{original} (main)"), (link, f"{original} (main)"), ("/clone", "/clone")):
            (agent.state / "data.json").write_text(json.dumps({"work_dir": str(folder)}))
            assert f" in {place}, Codex" in shown(agent.state)[0]

    def test_the_name_that_the_user_gave_is_the_title(self, agent: FollowedAgent) -> None:
        identity = session_meta(agent.make_current("1"))["id"]
        entry = json.dumps({"id": identity, "thread_name": "Greeting"})
        (agent.agent.home / "session_index.jsonl").write_text(f"{entry}\n")
        assert shown(agent.state)[0].endswith(", gpt-5.5: Greeting")


def test_a_transcript_that_no_rollout_describes_has_only_totals(state: State) -> None:
    output = shown(state.folder)
    assert output[0] == "[2026-01-01, UTC]"
    assert output[-1] == "total: 2 turns, 0 ms"
    assert shown(state.transcript) == output


class TestZone:
    """The time zone of the times."""

    @pytest.mark.parametrize(
        ("options", "variables", "expected"),
        [
            ([], {"TZ": "UTC"}, ("2026-01-01, UTC", "12:30:00")),
            ([], {"TZ": "EST5"}, ("2026-01-01, EST", "07:30:00")),
            ([], {"TZ": "<+0545>-5:45"}, ("2026-01-01, UTC+05:45", "18:15:00")),
            (["--utc"], {"TZ": "EST5"}, ("2026-01-01, UTC", "12:30:00")),
            ([], {"TZ": "No/Such_Zone"}, ("2026-01-01, UTC", "12:30:00")),
        ],
    )
    def test_times_are_local(
        self, state: State, options: list[str], variables: dict[str, str], expected: tuple[str, str]
    ) -> None:
        day, time = expected
        assert shown(state.folder, *options, **variables)[:2] == [f"[{day}]", f"{time} user"]

    def test_a_zone_of_the_system_is_found(self, state: State) -> None:
        if not Path("/usr/share/zoneinfo/America/New_York").exists():
            pytest.skip("the system has no zone files\nhint: install tzdata")
        state.write(HEADER, step("x"))
        assert shown(state.folder, TZ="America/New_York")[:2] == ["[2026-01-01, EST]", "07:30:00 user"]


def test_a_program_is_shown_once_its_commands_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--tail` of a rollout and of an agent select records before programs are explained."""
    path = DATA / "0.171.0" / "code_spawn.child1.jsonl"
    complete = shown(path)
    assert "  $ git status --short; cat made_1.txt" in complete
    assert not any("tools.exec_command" in line for line in complete)
    assert any("tools.exec_command" in line for line in shown(path, "--full"))
    # The step of the last program is not among these, so its output is shown as it is.
    assert any("Script completed" in line for line in shown(path, "--tail", "3"))
    assert "  $ git status --short; cat made_1.txt" in shown(path, "--tail", "4")
