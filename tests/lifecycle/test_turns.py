"""What `active` says, rule by rule, where recordings show none or only one of several ways."""

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

    def test_a_turn(self, agent: Agent) -> None:
        agent.begin_turn()
        agent.hook("session-start", turn_id=None)
        assert not agent.is_active
        agent.hook("user-prompt-submit")
        assert agent.is_active
        agent.hook("stop")
        assert not agent.is_active

    @pytest.mark.parametrize("sign", ["pre-model-request", "pre-tool-use", "post-tool-use", "user-prompt-submit"])
    def test_a_stop_that_was_blocked(self, prompted: Agent, sign: str) -> None:
        prompted.hook("stop")
        assert not prompted.is_active
        prompted.hook(sign)
        assert prompted.is_active
        prompted.hook("stop")
        assert not prompted.is_active

    def test_a_stop_that_was_blocked_told_by_the_rollout(self, prompted: Agent) -> None:
        prompted.hook("stop")
        prompted.marker("recompute")
        assert not prompted.is_active
        prompted.write_line("agent_message", prompted.turn_id)
        prompted.marker("recompute")
        assert prompted.is_active
        prompted.hook("stop")
        prompted.marker("recompute")
        assert not prompted.is_active

    def test_lines_that_were_there_at_the_stop(self, prompted: Agent) -> None:
        prompted.write_line("agent_message", prompted.turn_id)
        prompted.hook("stop")
        prompted.marker("recompute")
        assert not prompted.is_active

    @pytest.mark.parametrize("event", ["session-end", "post-model-request", "pre-compact", "post-compact"])
    def test_no_signs_of_life(self, prompted: Agent, event: str) -> None:
        prompted.hook("stop")
        prompted.hook(event)
        assert not prompted.is_active

    @pytest.mark.parametrize("end", ["interrupt", "task_complete", "turn_aborted"])
    def test_a_dead_turn_stays_dead(self, prompted: Agent, end: str) -> None:
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

    def test_steering(self, prompted: Agent) -> None:
        """A prompt in a turn is the same turn, with one Stop."""
        prompted.hook("user-prompt-submit")
        prompted.hook("stop")
        assert not prompted.is_active

    def test_a_turn_without_a_prompt(self, prompted: Agent) -> None:
        """As `/compact` begins one."""
        prompted.hook("stop")
        prompted.write_line("task_complete", prompted.turn_id)
        prompted.write_line("task_started", prompted.begin_turn())
        prompted.marker("recompute")
        assert prompted.is_active
        prompted.write_line("task_complete", prompted.turn_id)
        prompted.marker("recompute")
        assert not prompted.is_active

    def test_what_comes_late_of_an_earlier_turn(self, prompted: Agent) -> None:
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

    def test_a_clock_that_was_put_back(self, prompted: Agent) -> None:
        """By their places in the rollout the one turn is later, though its id is not."""
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

    def test_a_rollout_that_was_compressed(self, prompted: Agent) -> None:
        """Codex does that to idle ones: what stands there was written before."""
        prompted.write_line("turn_aborted", prompted.turn_id)
        compressed = prompted.rollout.with_name(prompted.rollout.name + ".zst")
        compressed.write_bytes(zstd_frames.compress(prompted.rollout.read_bytes()))
        prompted.rollout.unlink()
        prompted.marker("recompute")
        assert not prompted.is_active

    def test_half_a_line_says_nothing_yet(self, prompted: Agent) -> None:
        prompted.write_line("task_complete", prompted.turn_id)
        whole = prompted.rollout.read_bytes()
        prompted.rollout.write_bytes(whole[:-1])
        prompted.marker("recompute")
        assert prompted.is_active
        prompted.rollout.write_bytes(whole)
        prompted.marker("recompute")
        assert not prompted.is_active

    @pytest.mark.parametrize("answer", ["post-tool-use", "stop", "interrupt", "pre-model-request"])
    def test_an_approval(self, prompted: Agent, answer: str) -> None:
        prompted.hook("pre-tool-use")
        prompted.hook("permission-request")
        assert prompted.is_approval_pending
        assert prompted.is_active
        prompted.hook(answer)
        assert not prompted.is_approval_pending


class TestSubagents:
    """Turns of subagents."""

    def test_one(self, prompted: Agent) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.child_hook("subagent-start", child, turn)
        assert prompted.subagents == {child}
        prompted.hook("stop")
        assert prompted.is_active
        prompted.child_hook("subagent-stop", child, turn)
        assert not prompted.is_active
        assert prompted.subagents == set()

    def test_a_prompt_that_comes_after_the_root_s_stop(self, prompted: Agent) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.hook("stop")
        prompted.child_hook("user-prompt-submit", child, turn)
        assert prompted.is_active
        assert prompted.state_file("codex_root_active") is None
        prompted.child_hook("subagent-start", child, turn)
        prompted.child_hook("subagent-stop", child, turn)
        assert not prompted.is_active

    @pytest.mark.parametrize("end", ["task_complete", "turn_aborted"])
    def test_an_end_that_no_hook_tells(self, prompted: Agent, end: str) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.child_hook("subagent-start", child, turn)
        prompted.hook("stop")
        prompted.write_line(end, turn, rollout=prompted.rollout_path(child))
        prompted.marker("recompute")
        assert not prompted.is_active
        prompted.child_hook("post-model-request", child, turn)
        assert not prompted.is_active

    def test_copied_history_opens_and_ends_nothing(self, prompted: Agent) -> None:
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

    def test_a_later_turn_counts_again(self, prompted: Agent) -> None:
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

    def test_an_interrupted_root_leaves_them(self, prompted: Agent) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        prompted.child_hook("subagent-start", child, turn)
        prompted.hook("interrupt")
        assert prompted.is_active
        assert prompted.subagents == {child}


class TestNested:
    """A codex that the root runs as a tool."""

    EVENTS = ("session-start", "user-prompt-submit", "pre-tool-use", "permission-request", "stop", "session-end")

    def test_it_changes_nothing(self, prompted: Agent) -> None:
        session, turn = prompted.new_id(), prompted.new_id()
        file = str(prompted.rollout_path(session))
        before = prompted.files()
        for event in self.EVENTS:
            prompted.hook(event, session_id=session, turn_id=turn, transcript_path=file)
            assert prompted.files() == before
        prompted.child_hook("subagent-start", prompted.new_id(), prompted.new_id(), session_id=session)
        assert prompted.files() == before

    def test_what_comes_late_of_it(self, prompted: Agent) -> None:
        session, turn = prompted.new_id(), prompted.new_id()
        file = str(prompted.rollout_path(session))
        prompted.hook("user-prompt-submit", session_id=session, turn_id=turn, transcript_path=file)
        prompted.hook("stop")
        before = prompted.files()
        for event in self.EVENTS:
            prompted.hook(event, session_id=session, turn_id=turn, transcript_path=file)
        assert prompted.files() == before
        assert not prompted.is_active

    def test_another_session_after_an_end_that_only_the_rollout_tells(self, prompted: Agent) -> None:
        """No nested one: the root's turn is over, though no hook has told."""
        prompted.write_line("turn_aborted", prompted.turn_id)
        prompted.begin_session()
        prompted.begin_turn()
        prompted.hook("user-prompt-submit")
        assert prompted.state_file("codex_root_session") == prompted.session_id
        assert prompted.is_active

    def test_however_large_the_root_s_rollout_is(self, prompted: Agent) -> None:
        """Its end is read: what no hook told of the turn's end is found, and nobody waits for all of it."""
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

    @pytest.mark.parametrize("padding", [0, 5 << 20], ids=["all that is new", "only the end of what is new"])
    def test_a_look_at_the_root_s_rollout_is_no_second_reading(self, prompted: Agent, padding: int) -> None:
        """What a nested session's hook has read of it ends nothing when it is read in its turn."""
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

    def test_a_blocked_stop_after_a_look_at_the_root_s_rollout(self, prompted: Agent) -> None:
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

    def test_one_session(self, agent: Agent) -> None:
        for _ in range(3):
            self.begin(agent)
        assert agent.state_file("codex_root_session") == agent.session_id
        assert agent.state_file("codex_transcript_path") == str(agent.rollout)
        assert agent.rollouts == [str(agent.rollout)]

    def test_there_and_back(self, agent: Agent) -> None:
        """`/new`, and the first one resumed: it is listed again."""
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

    def test_back_after_something_late(self, prompted: Agent) -> None:
        """Late events of a session that was left make it no nested one, though they come in a turn of the next."""
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

    def test_a_session_without_a_rollout(self, prompted: Agent) -> None:
        """A side conversation (`/side`, `/btw`) leaves the agent's session as it is."""
        first, first_file = prompted.session_id, prompted.rollout
        prompted.hook("stop")
        prompted.begin_session()
        prompted.begin_turn()
        for event in ("session-start", "user-prompt-submit"):
            prompted.hook(event, transcript_path=None)
        assert not prompted.is_active
        assert prompted.state_file("codex_root_session") == first
        assert prompted.state_file("codex_transcript_path") == str(first_file)
        # One that names a rollout is none.
        prompted.hook("user-prompt-submit")
        assert prompted.is_active
        assert prompted.state_file("codex_root_session") == prompted.session_id

    def test_a_second_file_of_one_session(self, agent: Agent) -> None:
        """As a backtrack makes it: what was open in the first is over with the next turn."""
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

    def test_subagents_change_nothing(self, prompted: Agent) -> None:
        before = {name: text for name, text in prompted.files().items() if "transcript" in name or "session" in name}
        child, turn = prompted.new_id(), prompted.new_id()
        for event in ["session-start", "subagent-start", "user-prompt-submit", "pre-tool-use", "subagent-stop"]:
            prompted.child_hook(event, child, turn)
        after = prompted.files()
        assert {name: after[name] for name in before} == before

    def test_a_stop_names_no_session(self, prompted: Agent) -> None:
        """Late events of a session that was left do not bring it back."""
        first, first_turn, first_file = prompted.session_id, prompted.turn_id, prompted.rollout
        prompted.hook("stop")
        prompted.begin_session()
        self.begin(prompted)
        for event in ["stop", "session-end", "post-model-request"]:
            prompted.hook(event, session_id=first, turn_id=first_turn, transcript_path=str(first_file))
        assert prompted.state_file("codex_root_session") == prompted.session_id
        assert prompted.rollouts == [str(first_file), str(prompted.rollout)]

    def test_a_line_without_its_end_is_completed(self, agent: Agent, tmp_path: Path) -> None:
        """As a full disk can leave it."""
        self.begin(agent)
        first = str(agent.rollout)
        agent.begin_session()
        (agent.state / "codex_transcript_paths").write_text(f"{first}\n{str(agent.rollout)[:20]}")
        self.begin(agent)
        assert agent.rollouts == [first, str(agent.rollout)]
