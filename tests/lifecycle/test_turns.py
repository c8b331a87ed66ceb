"""Rules of the marker, including cases that no recording covers."""

import time
from pathlib import Path

import pytest

from tests.support import zstd_frames
from tests.support.fake_agent import Agent


@pytest.fixture
def prompted(agent: Agent) -> Agent:
    """An agent in the middle of a turn."""
    agent.write_line("task_started", agent.begin_turn())
    agent.hook("user-prompt-submit")
    return agent


class TestRoot:
    """Turns of the root."""

    def test_a_turn_runs_from_its_prompt_to_its_stop(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("session-start", turn_id=None)
        assert not agent.is_active
        agent.hook("user-prompt-submit")
        assert agent.is_active
        agent.hook("stop")
        assert not agent.is_active

    @pytest.mark.parametrize("event", ["pre-model-request", "pre-tool-use", "post-tool-use", "user-prompt-submit"])
    def test_a_hook_after_a_blocked_stop_reopens_the_turn(self, prompted: Agent, event: str) -> None:
        prompted.hook("stop")
        assert not prompted.is_active
        prompted.hook(event)
        assert prompted.is_active
        prompted.hook("stop")
        assert not prompted.is_active

    def test_a_line_after_a_blocked_stop_reopens_the_turn(self, prompted: Agent) -> None:
        prompted.hook("stop")
        prompted.marker("recompute")
        assert not prompted.is_active
        prompted.write_line("agent_message", prompted.turn_id)
        prompted.marker("recompute")
        assert prompted.is_active
        prompted.hook("stop")
        prompted.marker("recompute")
        assert not prompted.is_active

    def test_lines_before_the_stop_do_not_reopen_the_turn(self, prompted: Agent) -> None:
        prompted.write_line("agent_message", prompted.turn_id)
        prompted.hook("stop")
        prompted.marker("recompute")
        assert not prompted.is_active

    @pytest.mark.parametrize("event", ["session-end", "post-model-request", "pre-compact", "post-compact"])
    def test_hooks_that_run_after_a_turn_do_not_reopen_it(self, prompted: Agent, event: str) -> None:
        prompted.hook("stop")
        prompted.hook(event)
        assert not prompted.is_active

    @pytest.mark.parametrize("end", ["interrupt", "task_complete", "turn_aborted"])
    def test_a_turn_that_is_over_never_reopens(self, prompted: Agent, end: str) -> None:
        if end == "interrupt":
            prompted.hook(end)
        else:
            prompted.write_line(end, prompted.turn_id)
            prompted.marker("recompute")
        assert not prompted.is_active
        prompted.write_line("item_completed", prompted.turn_id)
        for event in ["post-tool-use", "pre-model-request", "user-prompt-submit", "permission-request"]:
            prompted.hook(event)
        prompted.marker("recompute")
        assert not prompted.is_active
        assert not prompted.is_approval_pending

    def test_a_steered_turn_ends_with_one_stop(self, prompted: Agent) -> None:
        """A prompt during a turn belongs to that turn."""
        prompted.hook("user-prompt-submit")
        prompted.hook("stop")
        assert not prompted.is_active

    def test_the_rollout_can_begin_and_end_a_turn(self, prompted: Agent) -> None:
        """`/compact` begins a turn without a prompt."""
        prompted.hook("stop")
        prompted.write_line("task_complete", prompted.turn_id)
        prompted.write_line("task_started", prompted.begin_turn())
        prompted.marker("recompute")
        assert prompted.is_active
        prompted.write_line("task_complete", prompted.turn_id)
        prompted.marker("recompute")
        assert not prompted.is_active

    def test_late_events_of_an_earlier_turn_are_ignored(self, prompted: Agent) -> None:
        earlier = prompted.turn_id
        prompted.begin_turn()
        prompted.hook("user-prompt-submit")
        for event in ["stop", "interrupt"]:
            prompted.hook(event, turn_id=earlier)
        prompted.write_line("turn_aborted", earlier)
        prompted.marker("recompute")
        assert prompted.is_active
        prompted.hook("stop")
        prompted.hook("user-prompt-submit", turn_id=earlier)
        assert not prompted.is_active

    def test_turns_are_ordered_by_position_if_the_clock_went_back(self, prompted: Agent) -> None:
        """The turn that is later in the rollout has the smaller id."""
        second = prompted.turn_id
        first = prompted.turn_id = prompted.session_id[:-1] + "f"
        assert prompted.session_id < first < second
        prompted.write_line("task_complete", second)
        prompted.marker("recompute")
        prompted.write_line("task_started", first)
        prompted.hook("user-prompt-submit")
        prompted.marker("recompute")
        assert prompted.is_active
        prompted.write_line("turn_aborted", second)
        prompted.marker("recompute")
        assert prompted.is_active
        prompted.hook("stop")
        assert not prompted.is_active

    def test_a_compressed_rollout_is_read(self, prompted: Agent) -> None:
        """Codex compresses idle rollouts."""
        prompted.write_line("turn_aborted", prompted.turn_id)
        compressed = prompted.rollout.with_name(prompted.rollout.name + ".zst")
        compressed.write_bytes(zstd_frames.compress(prompted.rollout.read_bytes()))
        prompted.rollout.unlink()
        prompted.marker("recompute")
        assert not prompted.is_active

    def test_a_partial_line_is_ignored(self, prompted: Agent) -> None:
        prompted.write_line("task_complete", prompted.turn_id)
        complete = prompted.rollout.read_bytes()
        prompted.rollout.write_bytes(complete[:-1])
        prompted.marker("recompute")
        assert prompted.is_active
        prompted.rollout.write_bytes(complete)
        prompted.marker("recompute")
        assert not prompted.is_active

    @pytest.mark.parametrize("event", ["post-tool-use", "stop", "interrupt", "pre-model-request"])
    def test_an_approval_is_pending_until_the_next_event(self, prompted: Agent, event: str) -> None:
        prompted.hook("pre-tool-use")
        prompted.hook("permission-request")
        assert prompted.is_approval_pending
        assert not prompted.is_active, "an agent that waits for an approval must be shown as waiting"
        prompted.hook(event)
        assert not prompted.is_approval_pending
        assert prompted.is_active == (event in {"post-tool-use", "pre-model-request"})

    @pytest.mark.parametrize("kind", ["function_call_output", "custom_tool_call_output"])
    def test_the_output_of_a_denied_call_ends_the_wait_for_an_approval(self, prompted: Agent, kind: str) -> None:
        """Denying without an interrupt runs no hook before the next call (0.163)."""
        prompted.write_line("function_call_output", prompted.turn_id, line="response_item")
        prompted.hook("permission-request")
        prompted.marker("recompute")
        assert prompted.is_approval_pending
        prompted.write_line(kind, prompted.turn_id, line="response_item")
        prompted.marker("recompute")
        assert not prompted.is_approval_pending
        assert prompted.is_active


class TestQuestions:
    """Questions of the model, which are no approvals."""

    @pytest.mark.parametrize("event", ["post-tool-use", "stop", "interrupt", "pre-model-request", "session-end"])
    def test_a_question_is_open_until_the_next_event(self, prompted: Agent, event: str) -> None:
        prompted.hook("pre-tool-use", tool_name="request_user_input")
        assert prompted.report()["waiting_reason"] == "QUESTION"
        assert prompted.is_question_open
        assert prompted.is_active
        prompted.hook(event)
        assert not prompted.is_question_open

    def test_the_question_of_a_subagent_counts(self, prompted: Agent) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.child_hook("subagent-start", child, turn)
        prompted.child_hook("pre-tool-use", child, turn, tool_name="request_user_input")
        prompted.hook("pre-tool-use", tool_name="Bash")
        assert prompted.is_question_open
        prompted.child_hook("subagent-stop", child, turn)
        assert not prompted.is_question_open

    def test_the_rollout_answers_a_question(self, prompted: Agent) -> None:
        """The hook after the answer was lost."""
        prompted.hook("pre-tool-use", tool_name="request_user_input")
        prompted.write_line("function_call_output", prompted.turn_id, line="response_item")
        prompted.marker("recompute")
        assert not prompted.is_question_open

    def test_the_rollout_asks_a_question(self, prompted: Agent) -> None:
        """The hook before the question was lost."""
        prompted.write_line("function_call", prompted.turn_id, line="response_item", name="request_user_input")
        assert prompted.report("recompute")["waiting_reason"] == "QUESTION"
        prompted.hook("post-tool-use", tool_name="request_user_input")
        assert prompted.report("recompute")["waiting_reason"] is None

    def test_the_line_of_an_answered_question_may_be_read_late(self, prompted: Agent) -> None:
        prompted.write_line("function_call", prompted.turn_id, line="response_item", name="request_user_input")
        prompted.hook("pre-tool-use", tool_name="request_user_input")
        prompted.hook("post-tool-use", tool_name="request_user_input")
        assert prompted.report("recompute")["waiting_reason"] is None

    @pytest.mark.parametrize("end", ["task_complete", "turn_aborted"])
    def test_the_end_of_the_turn_ends_a_question(self, prompted: Agent, end: str) -> None:
        prompted.hook("pre-tool-use", tool_name="request_user_input")
        prompted.write_line(end, prompted.turn_id)
        assert prompted.report("recompute")["waiting_reason"] == "END_OF_TURN"
        assert not prompted.is_question_open


class TestSessionEnd:
    """The end of the session, after which no hook and perhaps no watcher runs."""

    @pytest.mark.parametrize("end", ["task_complete", "turn_aborted"])
    def test_the_end_of_the_turn_is_read_in_the_rollout(self, prompted: Agent, end: str) -> None:
        prompted.write_line(end, prompted.turn_id)
        prompted.hook("session-end", turn_id=None, reason="other")
        assert not prompted.is_active
        root = prompted.report()["root"]
        assert (root["phase"], root["evidence"]) == ("over", "rollout: turn ended")

    def test_the_turn_is_over_even_if_the_rollout_does_not_say_so(self, prompted: Agent) -> None:
        prompted.hook("session-end", turn_id=None, reason="other")
        assert not prompted.is_active
        assert prompted.report()["root"]["evidence"] == "hook: session ended"
        prompted.marker("recompute")
        assert not prompted.is_active

    def test_the_rollout_may_be_missing(self, agent: Agent) -> None:
        agent.begin_turn()
        for rollout in [None, str(agent.rollout)]:
            agent.hook("user-prompt-submit", transcript_path=rollout)
            agent.hook("session-end", turn_id=None, transcript_path=rollout)
            assert not agent.is_active
            agent.begin_turn()

    def test_a_rollout_that_only_this_hook_names_is_read(self, agent: Agent) -> None:
        agent.write_line("task_started", agent.begin_turn())
        agent.hook("user-prompt-submit", transcript_path=None)
        agent.write_line("task_complete", agent.turn_id)
        agent.hook("session-end", turn_id=None)
        assert not agent.is_active
        assert agent.report()["root"]["evidence"] == "rollout: turn ended"

    def test_only_the_end_of_a_large_rollout_is_read(self, prompted: Agent) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.child_hook("subagent-start", child, turn)
        prompted.write_line("task_started", turn, rollout=prompted.rollout_path(child))
        for rollout in [prompted.rollout, prompted.rollout_path(child)]:
            with rollout.open("ab") as file:
                file.write(b'{"type":"x","payload":{}}\n' * 200_000)
                file.truncate(1 << 33)
                file.seek(0, 2)
                file.write(b"\n")
        prompted.write_line("task_complete", prompted.turn_id)
        begun = time.monotonic()
        prompted.hook("session-end", turn_id=None)
        assert time.monotonic() - begun < 2.5, "Codex ends the hook after 3 s"
        assert prompted.report()["root"]["evidence"] == "rollout: turn ended"
        assert not prompted.is_active

    @pytest.mark.parametrize("end", ["task_complete", "turn_aborted"])
    def test_the_end_of_a_subagent_is_read_in_its_rollout(self, prompted: Agent, end: str) -> None:
        """Codex ends it without SubagentStop when it exits."""
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.child_hook("subagent-start", child, turn)
        prompted.write_line(end, turn, rollout=prompted.rollout_path(child))
        prompted.hook("session-end", turn_id=None)
        assert not prompted.is_active
        assert prompted.subagents == set()

    def test_a_subagent_is_stopped_until_its_next_hook(self, prompted: Agent) -> None:
        """A server that unloads the root's thread could still run its subagents."""
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.child_hook("subagent-start", child, turn)
        prompted.write_line("task_started", turn, rollout=prompted.rollout_path(child))
        prompted.hook("session-end", turn_id=None)
        prompted.marker("recompute")
        assert prompted.subagents == set()
        assert not prompted.is_active
        prompted.child_hook("pre-tool-use", child, turn)
        assert prompted.subagents == {child}
        assert prompted.is_active

    def test_the_end_of_another_session_changes_nothing(self, prompted: Agent) -> None:
        """A Codex that runs as a tool ends, or one that ran before any hook."""
        prompted.hook("session-end", turn_id=None, session_id=prompted.new_id())
        assert prompted.is_active
        assert prompted.report()["root"]["evidence"] == "hook: prompt submitted"

    def test_a_late_end_does_not_hide_the_next_turn(self, prompted: Agent) -> None:
        prompted.begin_turn()
        prompted.hook("user-prompt-submit")
        prompted.hook("session-end", turn_id=None)
        prompted.hook("pre-tool-use")
        assert prompted.is_active


class TestSubagents:
    """Turns of subagents."""

    def test_a_subagent_keeps_the_agent_running_after_the_roots_stop(self, prompted: Agent) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.child_hook("subagent-start", child, turn)
        assert prompted.subagents == {child}
        prompted.hook("stop")
        assert prompted.is_active
        prompted.child_hook("subagent-stop", child, turn)
        assert not prompted.is_active
        assert prompted.subagents == set()

    def test_a_subagent_prompted_after_the_roots_stop_runs(self, prompted: Agent) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.hook("stop")
        prompted.child_hook("user-prompt-submit", child, turn)
        assert prompted.is_active
        assert prompted.state_file("codex_root_active") is None
        prompted.child_hook("subagent-start", child, turn)
        prompted.child_hook("subagent-stop", child, turn)
        assert not prompted.is_active

    @pytest.mark.parametrize("end", ["task_complete", "turn_aborted"])
    def test_the_rollout_can_end_a_subagents_turn(self, prompted: Agent, end: str) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.child_hook("subagent-start", child, turn)
        prompted.hook("stop")
        prompted.write_line(end, turn, rollout=prompted.rollout_path(child))
        prompted.marker("recompute")
        assert not prompted.is_active
        prompted.child_hook("post-model-request", child, turn)
        assert not prompted.is_active

    def test_copied_history_opens_and_ends_no_turn(self, prompted: Agent) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        file = prompted.rollout_path(child)
        prompted.write_line("task_started", prompted.turn_id, rollout=file)
        prompted.write_line("turn_aborted", prompted.turn_id, rollout=file)
        prompted.child_hook("subagent-start", child, turn)
        prompted.marker("recompute")
        assert prompted.subagents == {child}
        prompted.child_hook("subagent-stop", child, turn)
        prompted.marker("recompute")
        assert prompted.is_active
        assert prompted.state_file("codex_root_active") is not None

    def test_a_later_turn_of_a_subagent_is_open_until_its_own_stop(self, prompted: Agent) -> None:
        child, first, second = (prompted.new_id() for _ in range(3))
        prompted.hook("stop")
        prompted.child_hook("subagent-start", child, first)
        prompted.child_hook("subagent-stop", child, first)
        prompted.child_hook("subagent-start", child, second)
        assert prompted.is_active
        prompted.child_hook("subagent-stop", child, first)
        assert prompted.is_active
        prompted.child_hook("subagent-stop", child, second)
        assert not prompted.is_active

    def test_an_interrupt_of_the_root_leaves_subagents_running(self, prompted: Agent) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.child_hook("subagent-start", child, turn)
        prompted.hook("interrupt")
        assert prompted.is_active
        assert prompted.subagents == {child}


class TestNested:
    """A Codex that the root runs as a tool."""

    EVENTS = ("session-start", "user-prompt-submit", "pre-tool-use", "permission-request", "stop", "session-end")

    def test_hooks_of_a_nested_codex_change_nothing(self, prompted: Agent) -> None:
        session, turn = prompted.new_id(), prompted.new_id()
        file = str(prompted.rollout_path(session))
        before = prompted.files()
        for event in self.EVENTS:
            prompted.hook(event, session_id=session, turn_id=turn, transcript_path=file)
            assert prompted.files() == before
        prompted.child_hook("subagent-start", prompted.new_id(), prompted.new_id(), session_id=session)
        assert prompted.files() == before

    def test_late_hooks_of_a_nested_codex_change_nothing(self, prompted: Agent) -> None:
        session, turn = prompted.new_id(), prompted.new_id()
        file = str(prompted.rollout_path(session))
        prompted.hook("user-prompt-submit", session_id=session, turn_id=turn, transcript_path=file)
        prompted.hook("stop")
        before = prompted.files()
        for event in self.EVENTS:
            prompted.hook(event, session_id=session, turn_id=turn, transcript_path=file)
        assert prompted.files() == before
        assert not prompted.is_active

    def test_a_session_is_not_nested_if_the_rollout_has_ended_the_turn(self, prompted: Agent) -> None:
        """No hook has reported the end of the root's turn."""
        prompted.write_line("turn_aborted", prompted.turn_id)
        prompted.begin_session()
        prompted.begin_turn()
        prompted.hook("user-prompt-submit")
        assert prompted.state_file("codex_root_session") == prompted.session_id
        assert prompted.is_active

    def test_only_the_end_of_a_large_rollout_is_read(self, prompted: Agent) -> None:
        """It has the end of the turn, which no hook reported. Reading the whole rollout would take too long."""
        with prompted.rollout.open("ab") as rollout:
            rollout.write(b"\n")
            rollout.truncate(1 << 40)
        session, turn = prompted.new_id(), prompted.new_id()
        prompted.hook("user-prompt-submit", session_id=session, turn_id=turn)
        assert prompted.state_file("codex_root_session") == prompted.session_id
        with prompted.rollout.open("ab") as rollout:
            rollout.write(b"\n")
        prompted.write_line("turn_aborted", prompted.turn_id)
        prompted.begin_session()
        prompted.begin_turn()
        prompted.hook("user-prompt-submit")
        assert prompted.state_file("codex_root_session") == prompted.session_id
        assert prompted.is_active

    @pytest.mark.parametrize("padding", [0, 5 << 20], ids=["all new lines", "only the last new lines"])
    def test_lines_read_for_a_nested_session_are_applied_once(self, prompted: Agent, padding: int) -> None:
        """They end no turn when the rollout is read again in the normal order."""
        prompted.marker("recompute")
        prompted.write_line("turn_aborted", prompted.turn_id)
        prompted.write_line("thread_rolled_back", "")
        prompted.write_line("x" * padding, prompted.turn_id)
        prompted.begin_turn()
        prompted.hook("user-prompt-submit")
        prompted.write_line("task_started", prompted.turn_id)
        prompted.hook("session-start", session_id=prompted.new_id(), turn_id=None, transcript_path=None)
        assert prompted.is_active
        prompted.marker("recompute")
        assert prompted.is_active
        prompted.hook("stop")
        assert not prompted.is_active

    def test_a_blocked_stop_is_detected_after_a_nested_session(self, prompted: Agent) -> None:
        prompted.write_line("task_complete", prompted.turn_id)
        prompted.write_line("task_started", prompted.begin_turn())
        prompted.hook("user-prompt-submit")
        prompted.hook("session-start", session_id=prompted.new_id(), turn_id=None, transcript_path=None)
        prompted.hook("stop")
        assert not prompted.is_active
        prompted.write_line("x", prompted.turn_id, line="turn_context")
        prompted.marker("recompute")
        assert prompted.is_active


class TestPointers:
    """Which session and rollouts are the root's."""

    def begin(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("session-start", turn_id=None)
        agent.hook("user-prompt-submit")
        agent.hook("stop")

    def test_a_rollout_is_listed_once(self, agent: Agent) -> None:
        for _ in range(3):
            self.begin(agent)
        assert agent.state_file("codex_root_session") == agent.session_id
        assert agent.state_file("codex_transcript_path") == str(agent.rollout)
        assert agent.rollouts == [str(agent.rollout)]

    def test_a_resumed_session_is_listed_again(self, agent: Agent) -> None:
        """After `/new` the first session is resumed."""
        self.begin(agent)
        first, first_file = agent.session_id, agent.rollout
        agent.begin_session()
        self.begin(agent)
        second_file = agent.rollout
        agent.session_id, agent.rollout = first, first_file
        self.begin(agent)
        assert agent.state_file("codex_root_session") == first
        assert agent.state_file("codex_transcript_path") == str(first_file)
        assert agent.rollouts == [str(first_file), str(second_file), str(first_file)]

    def test_late_events_of_an_earlier_session_do_not_make_it_nested(self, prompted: Agent) -> None:
        """They run during a turn of the next session, and the earlier one can still be resumed."""
        first, first_turn, first_file = prompted.session_id, prompted.turn_id, prompted.rollout
        prompted.hook("stop")
        prompted.begin_session()
        prompted.begin_turn()
        prompted.hook("user-prompt-submit")
        for event in ["post-model-request", "stop", "session-end"]:
            prompted.hook(event, session_id=first, turn_id=first_turn, transcript_path=str(first_file))
        prompted.child_hook("user-prompt-submit", prompted.new_id(), prompted.new_id(), session_id=first)
        prompted.hook("stop")
        prompted.session_id, prompted.rollout = first, first_file
        prompted.begin_turn()
        prompted.hook("session-start", turn_id=None, source="resume")
        prompted.hook("user-prompt-submit")
        assert prompted.state_file("codex_root_session") == first
        assert prompted.is_active

    def test_a_side_conversation_leaves_the_session(self, prompted: Agent) -> None:
        """A side conversation (`/side`, `/btw`) has no rollout."""
        first, first_file = prompted.session_id, prompted.rollout
        prompted.hook("stop")
        prompted.begin_session()
        prompted.begin_turn()
        for event in ("session-start", "user-prompt-submit"):
            prompted.hook(event, transcript_path=None)
        assert not prompted.is_active
        assert prompted.state_file("codex_root_session") == first
        assert prompted.state_file("codex_transcript_path") == str(first_file)
        # A session with a rollout is not a side conversation.
        prompted.hook("user-prompt-submit")
        assert prompted.is_active
        assert prompted.state_file("codex_root_session") == prompted.session_id

    def test_a_side_conversation_with_a_rollout_leaves_the_session(self, prompted: Agent) -> None:
        """On 0.171, if the TUI shows it next to the main conversation."""
        prompted.hook("stop")
        session, rollout = prompted.session_id, prompted.rollout
        prompted.begin_session()
        thread = prompted.session_id
        prompted.write_line("", "", line="session_meta", id=thread, thread_source="tui_side_chat")
        prompted.write_line("task_started", prompted.begin_turn())
        for event in (
            "session-start",
            "user-prompt-submit",
            "pre-tool-use",
            "permission-request",
            "stop",
            "session-end",
        ):
            prompted.hook(event)
            prompted.marker("recompute")
            assert not prompted.is_active
            assert not prompted.is_approval_pending
            assert prompted.state_file("codex_root_session") == session
        assert prompted.rollouts == [str(rollout)]

    def test_another_session_after_a_turn_is_the_next_one(self, prompted: Agent) -> None:
        """A fork has another origin than a side conversation."""
        prompted.hook("stop")
        prompted.begin_session()
        prompted.write_line("", "", line="session_meta", thread_source="user", note='"thread_source":"tui_side_chat"')
        prompted.begin_turn()
        prompted.hook("session-start", turn_id=None)
        assert prompted.state_file("codex_root_session") == prompted.session_id

    def test_a_backtrack_continues_the_session_in_another_file(self, agent: Agent) -> None:
        """The next turn closes open turns of the first file."""
        self.begin(agent)
        first = agent.rollout
        agent.rollout = agent.rollout_path(f"{agent.session_id}_{agent.new_id()}")
        self.begin(agent)
        assert agent.state_file("codex_root_session") == agent.session_id
        assert agent.rollouts == [str(first), str(agent.rollout)]
        assert not agent.is_active
        agent.write_line("task_started", agent.begin_turn())
        agent.marker("recompute")
        assert agent.is_active

    def test_subagents_change_no_pointers(self, prompted: Agent) -> None:
        before = {name: text for name, text in prompted.files().items() if "transcript" in name or "session" in name}
        child, turn = prompted.new_id(), prompted.new_id()
        for event in ["session-start", "subagent-start", "user-prompt-submit", "pre-tool-use", "subagent-stop"]:
            prompted.child_hook(event, child, turn)
        after = prompted.files()
        assert {name: after[name] for name in before} == before

    def test_late_hooks_do_not_bring_back_an_earlier_session(self, prompted: Agent) -> None:
        first, first_turn, first_file = prompted.session_id, prompted.turn_id, prompted.rollout
        prompted.hook("stop")
        prompted.begin_session()
        self.begin(prompted)
        for event in ["stop", "session-end", "post-model-request"]:
            prompted.hook(event, session_id=first, turn_id=first_turn, transcript_path=str(first_file))
        assert prompted.state_file("codex_root_session") == prompted.session_id
        assert prompted.rollouts == [str(first_file), str(prompted.rollout)]

    def test_a_partial_line_in_the_list_of_rollouts_is_replaced(self, agent: Agent, tmp_path: Path) -> None:
        """A full disk can leave a partial line."""
        self.begin(agent)
        first = str(agent.rollout)
        agent.begin_session()
        (agent.state / "codex_transcript_paths").write_text(f"{first}\n{str(agent.rollout)[:20]}")
        self.begin(agent)
        assert agent.rollouts == [first, str(agent.rollout)]
