"""`mngr-codex marker`: shows the state, recomputes the marker files, and resets them."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.fake_agent import STATE_DIR_VARIABLE, Agent
from tests.support.program import program, run, run_as_nobody

COMMANDS = ["show", "recompute", "reset"]


class TestShow:
    """`marker show`."""

    def test_an_agent_without_a_hook_is_unknown(self, agent: Agent) -> None:
        """Nothing shows whether Codex runs, so this is neither RUNNING nor WAITING."""
        shown = run("marker", "show", env=agent.environment())
        assert (shown.status, shown.stdout) == (1, b"UNKNOWN\n")
        assert shown.stderr.startswith(f"mngr-codex: no hook has run for {agent.state}\nhint: ")
        shown = run("marker", "show", "--json", env=agent.environment())
        assert shown.status == 1
        assert json.loads(shown.stdout) == {
            "state": "UNKNOWN",
            "waiting_reason": None,
            "is_marker_there": False,
            "is_permission_awaited": False,
            "session_id": None,
            "root": None,
            "subagents": [],
        }

    def test_an_agent_that_was_recomputed_stays_unknown(self, agent: Agent) -> None:
        assert agent.marker("recompute").stdout == b"UNKNOWN\n"
        assert run("watch", "--once", env=agent.environment()).status == 0
        assert run("marker", "show", env=agent.environment()).stdout == b"UNKNOWN\n"
        agent.hook("session-end")
        assert run("marker", "show", env=agent.environment()).stdout == b"UNKNOWN\n"

    def test_an_agent_that_was_reset_waits(self, agent: Agent) -> None:
        """mngr resets the marker before it starts Codex, whose first hook runs at the first prompt."""
        assert agent.report("reset")["state"] == "WAITING"
        report = agent.report()
        assert (report["state"], report["waiting_reason"], report["root"]) == ("WAITING", "END_OF_TURN", None)

    def test_a_missing_state_dir_is_an_error(self, agent: Agent) -> None:
        done = run("marker", "show", "--json", "--state-dir", agent.folder / "none")
        assert (done.status, done.stdout) == (1, b"") and "no such directory" in done.stderr

    def test_a_root_turn_is_shown(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.rollout.parent.mkdir(parents=True)
        agent.rollout.touch()
        agent.hook("user-prompt-submit")
        report = agent.report()
        since = report["root"].pop("since")
        assert since.endswith("Z")
        assert report == {
            "state": "RUNNING",
            "waiting_reason": None,
            "is_marker_there": True,
            "is_permission_awaited": False,
            "session_id": agent.session_id,
            "root": {
                "agent_id": None,
                "turn_id": agent.turn_id,
                "phase": "open",
                "evidence": "hook: prompt submitted",
                "transcript_path": str(agent.rollout),
                "is_transcript_there": True,
            },
            "subagents": [],
        }
        assert agent.marker("show").stdout.decode().splitlines() == [
            "RUNNING",
            f"  session {agent.session_id}",
            f"  root: turn {agent.turn_id} open",
            f"    since {since} (hook: prompt submitted)",
            f"    rollout {agent.rollout}",
        ]

    def test_a_missing_rollout_is_shown(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        assert f"    rollout {agent.rollout} (missing: only hooks count)\n" in agent.marker("show").stdout.decode()
        agent.rollout.parent.mkdir(parents=True)
        agent.rollout.with_suffix(".jsonl.zst").touch()
        assert agent.report()["root"]["is_transcript_there"]

    def test_subagents_and_a_pending_approval_are_shown(self, agent: Agent) -> None:
        agent.begin_turn()
        child, turn = agent.new_id(), agent.new_id()
        agent.hook("user-prompt-submit")
        agent.child_hook("subagent-start", child, turn)
        agent.hook("permission-request")
        report = agent.report()
        assert (report["state"], report["waiting_reason"]) == ("WAITING", "PERMISSIONS")
        assert report["is_permission_awaited"] and not report["is_marker_there"]
        assert [(it["agent_id"], it["turn_id"], it["phase"]) for it in report["subagents"]] == [(child, turn, "open")]
        text = agent.marker("show").stdout.decode()
        assert text.startswith("WAITING\n  PERMISSIONS: Codex is waiting for an approval\n")
        assert f"  subagent {child}: turn {turn} open\n" in text

    def test_a_question_is_shown_and_keeps_the_marker(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        agent.hook("pre-tool-use", tool_name="request_user_input", tool_use_id="c")
        report = agent.report()
        assert (report["state"], report["waiting_reason"]) == ("WAITING", "QUESTION")
        assert report["is_marker_there"] and not report["is_permission_awaited"]
        text = agent.marker("show").stdout.decode()
        assert text.startswith("WAITING\n  QUESTION: Codex is waiting for an answer\n  session ")
        agent.hook("post-tool-use", tool_name="request_user_input", tool_use_id="c")
        assert agent.report()["waiting_reason"] is None

    @pytest.mark.parametrize(
        ("ending", "phase", "evidence"),
        [
            ("stop", "stopped", "hook: turn stopped"),
            ("interrupt", "over", "hook: turn ended"),
        ],
    )
    def test_the_reason_of_a_turns_end_is_shown(self, agent: Agent, ending: str, phase: str, evidence: str) -> None:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        agent.hook(ending)
        report = agent.report()
        assert report["state"] == "WAITING"
        assert (report["root"]["phase"], report["root"]["evidence"]) == (phase, evidence)

    def test_a_wrong_marker_is_shown_and_kept(self, agent: Agent) -> None:
        agent.marker("reset")
        (agent.state / "active").touch()
        assert agent.report()["is_marker_there"]
        assert b"`active` exists; `mngr-codex marker recompute` removes it\n" in agent.marker("show").stdout
        assert agent.is_active, "`marker show` changed the marker"

    def test_show_creates_no_file(self, agent: Agent) -> None:
        assert run("marker", "show", env=agent.environment()).status == 1
        assert list(agent.state.iterdir()) == []

    def test_show_changes_no_file(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        before = agent.files()
        agent.marker("show")
        assert agent.files() == before


class TestRecompute:
    """`marker recompute` restores files that other programs removed or added."""

    def test_missing_files_are_written(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        agent.child_hook("subagent-start", agent.new_id(), agent.new_id())
        agent.hook("permission-request")
        expected = agent.files()
        for name in expected:
            (agent.state / name).unlink()
        (agent.state / "codex_subagents").rmdir()
        assert agent.report("recompute")["is_permission_awaited"]
        assert agent.files() == expected

    def test_stray_files_are_removed(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        agent.hook("stop")
        expected = agent.files()
        (agent.state / "codex_subagents").mkdir(exist_ok=True)
        for name in [
            "active",
            "codex_root_active",
            "permissions_waiting",
            "question_waiting",
            f"codex_subagents/{agent.new_id()}",
        ]:
            (agent.state / name).write_text("stray")
        assert not agent.report("recompute")["is_marker_there"]
        assert agent.files() == expected

    def test_changed_pointers_are_restored(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        expected = agent.files()
        for name in ["codex_root_session", "codex_transcript_path"]:
            (agent.state / name).write_text("stray")
        agent.marker("recompute")
        assert agent.files() == expected

    def test_the_rollout_can_end_a_turn(self, agent: Agent) -> None:
        agent.write_line("task_started", agent.begin_turn())
        agent.hook("user-prompt-submit")
        agent.write_line("turn_aborted", agent.turn_id)
        report = agent.report("recompute")
        assert (report["state"], report["root"]["evidence"]) == ("WAITING", "rollout: turn ended")
        assert not agent.is_active

    def test_damaged_state_without_a_rollout_is_recreated_by_the_next_hook(self, agent: Agent) -> None:
        """Until then only the session is known. The log names the damage."""
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        (agent.state / "plugin/mngr_codex/lifecycle").write_bytes(bytes(range(1, 256)) * 20)
        agent.marker("recompute")
        assert not agent.is_active
        agent.assert_logged("damaged")
        agent.hook("pre-tool-use")
        assert agent.is_active

    @pytest.mark.parametrize("lost", [None, b"", b"damaged" * 1000], ids=["gone", "empty", "damaged"])
    def test_damaged_state_is_rebuilt_from_the_rollout(self, agent: Agent, lost: bytes | None) -> None:
        """The pointers name the session and its rollout, which has the rest."""
        agent.write_line("task_started", agent.begin_turn())
        agent.hook("user-prompt-submit")
        expected = agent.files()
        state = agent.state / "plugin/mngr_codex/lifecycle"
        state.unlink() if lost is None else state.write_bytes(lost)
        agent.marker("recompute")
        assert agent.files() == expected


class TestReset:
    """`marker reset`, which a start of the agent runs."""

    def test_reset_closes_all_turns_and_keeps_the_session(self, agent: Agent) -> None:
        agent.write_line("task_started", agent.begin_turn())
        agent.hook("user-prompt-submit")
        agent.child_hook("subagent-start", agent.new_id(), agent.new_id())
        agent.hook("permission-request")
        report = agent.report("reset")
        assert (report["state"], report["is_marker_there"], report["subagents"]) == ("WAITING", False, [])
        assert report["session_id"] == agent.session_id
        assert agent.files() == {
            "codex_root_session": agent.session_id.encode(),
            "codex_transcript_path": str(agent.rollout).encode(),
            "codex_transcript_paths": f"{agent.rollout}\n".encode(),
        }

    def test_earlier_turns_never_reopen(self, agent: Agent) -> None:
        """Neither rollout lines, whether read before or not, nor late hooks reopen them."""
        agent.write_line("task_started", agent.begin_turn())
        child, turn = agent.new_id(), agent.new_id()
        agent.hook("user-prompt-submit")
        agent.child_hook("subagent-start", child, turn)
        agent.write_line("task_started", agent.new_id(), rollout=agent.rollout_path(child))
        agent.write_line("task_started", agent.new_id())
        agent.marker("reset")
        for _ in range(2):
            agent.marker("recompute")
            assert not agent.is_active
        agent.write_line("agent_message", agent.turn_id)
        agent.hook("pre-tool-use")
        agent.child_hook("user-prompt-submit", child, turn)
        agent.child_hook("post-tool-use", child, turn)
        agent.marker("recompute")
        assert not agent.is_active
        assert agent.subagents == set()

    def test_earlier_turns_never_reopen_after_the_state_is_lost(self, agent: Agent) -> None:
        """Another plugin leaves only the pointers."""
        agent.write_line("task_started", agent.begin_turn())
        agent.hook("user-prompt-submit")
        shutil.rmtree(agent.state / "plugin")
        agent.marker("reset")
        agent.hook("session-start", turn_id=None, source="resume")
        agent.marker("recompute")
        assert not agent.is_active

    def test_the_next_turn_opens(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        agent.marker("reset")
        agent.begin_turn()
        agent.hook("session-start", turn_id=None, source="resume")
        assert not agent.is_active
        agent.hook("user-prompt-submit")
        assert agent.is_active
        agent.hook("stop")
        assert not agent.is_active

    def test_a_turn_without_a_prompt_opens(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        agent.marker("reset")
        agent.write_line("task_started", agent.begin_turn())
        agent.marker("recompute")
        assert agent.is_active

    def test_a_second_reset_changes_nothing(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        agent.marker("reset")
        once = agent.files()
        agent.marker("reset")
        assert agent.files() == once


class TestFailures:
    """Exit statuses and messages."""

    @pytest.mark.parametrize("command", COMMANDS)
    @pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
    def test_a_state_dir_must_be_named(self, command: str, value: str | None) -> None:
        environment = {key: it for key, it in os.environ.items() if key != STATE_DIR_VARIABLE}
        done = run("marker", command, env=environment if value is None else {**environment, STATE_DIR_VARIABLE: value})
        assert (done.status, done.stdout) == (2, b"")
        assert "--state-dir" in done.stderr and STATE_DIR_VARIABLE in done.stderr

    @pytest.mark.parametrize("arguments", [[], ["close"], ["show", "--yaml"], ["show", "--state-dir"]], ids=" ".join)
    def test_invalid_arguments_are_refused(self, arguments: list[str]) -> None:
        done = run("marker", *arguments)
        assert (done.status, done.stdout) == (2, b"")
        assert done.stderr

    @pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
    def test_help(self, command: list[str]) -> None:
        done = run("marker", *command, "--help")
        assert (done.status, done.stderr) == (0, "")
        assert done.stdout

    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_missing_state_dir_is_an_error(self, command: str, tmp_path: Path) -> None:
        done = run("marker", command, "--state-dir", tmp_path / "none")
        assert (done.status, done.stdout) == (1, b"")
        assert f"cannot open the state directory {tmp_path / 'none'}" in done.stderr
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_file_instead_of_the_state_dir_is_an_error(self, command: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"mine")
        done = run("marker", command, "--state-dir", tmp_path / "file")
        assert (done.status, done.stdout) == (1, b"")
        assert str(tmp_path / "file") in done.stderr
        assert (tmp_path / "file").read_bytes() == b"mine"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program as another user")
    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_state_dir_of_another_user_can_only_be_shown(self, command: str, open_to_all: Path) -> None:
        agent = Agent(open_to_all / "agent")
        agent.folder.chmod(0o755)
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        done = run_as_nobody(open_to_all, "marker", command, "--state-dir", agent.state)
        if command == "show":
            assert (done.status, done.stdout.splitlines()[0], done.stderr) == (0, b"RUNNING", "")
            return
        assert (done.status, done.stdout) == (1, b"")
        assert "ermission denied" in done.stderr and str(agent.state) in done.stderr
        assert agent.is_active

    @pytest.mark.parametrize("command", COMMANDS)
    def test_an_output_that_cannot_be_written_is_an_error(self, command: str, agent: Agent) -> None:
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [program(), "marker", command], env=agent.environment(), stdout=full, stderr=subprocess.PIPE, timeout=60
            )
        assert done.returncode == 1
        assert b"standard output" in done.stderr
        assert b"panicked" not in done.stderr

    def test_the_option_overrides_the_environment(self, agent: Agent, tmp_path: Path) -> None:
        other = Agent(tmp_path / "other")
        other.begin_turn()
        other.hook("user-prompt-submit")
        shown = run("marker", "show", "--json", "--state-dir", other.state, env=agent.environment())
        assert json.loads(shown.stdout)["state"] == "RUNNING"
