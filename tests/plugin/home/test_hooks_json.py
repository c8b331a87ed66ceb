"""The ``hooks.json`` of an agent."""

import json
from pathlib import Path

from mngr_codex.plugin.home.hooks_json import HOOKS, build_hooks, own_commands
from tests.support.program import program as installed_program
from tests.support.program import run


def test_the_users_hooks_follow_the_plugins() -> None:
    group = {"hooks": [{"type": "command", "command": "say done"}]}
    program = Path("/a b/mngr-codex")
    user_config = {"Stop": [group], "state": {"x": {"trusted_hash": "y"}}}
    groups = build_hooks(
        program, {"Stop": [group], "PostModelRequest": [group], "SessionStart": "nonsense"}, user_config
    )["hooks"]
    assert groups["Stop"][1:] == [group, group] and groups["PostModelRequest"] == [group] and "state" not in groups
    first = [groups[event][0]["hooks"][0]["command"] for event in HOOKS]
    assert tuple(first) == own_commands(program)
    assert "'/a b/mngr-codex' hook stop" in first


def test_the_events_and_timeouts_are_those_of_the_program(tmp_path: Path) -> None:
    """The program writes the same hooks for a Codex without mngr."""
    done = run("hooks", "print", "--codex-home", tmp_path, "--state-dir", "/d")
    assert done.status == 0, done.stderr
    ours = build_hooks(installed_program())["hooks"]
    for groups in ours.values():
        groups[0]["hooks"][0]["command"] = f"exec {groups[0]['hooks'][0]['command']} --state-dir /d"
    assert ours == json.loads(done.stdout)["hooks"] and list(ours) == list(json.loads(done.stdout)["hooks"])


def test_hooks_of_the_program_in_the_users_file_are_replaced_by_the_agents(tmp_path: Path) -> None:
    """A second hook of an agent would record its session outside of the agent."""
    (tmp_path / "hooks.json").write_text('{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "mine"}]}]}}')
    done = run("hooks", "install", "--codex-home", tmp_path, "--state-dir", tmp_path / "state/{session_id}")
    assert done.status == 0, done.stderr
    users = json.loads((tmp_path / "hooks.json").read_text())["hooks"]
    mixed = {"hooks": [{"type": "command", "command": "mngr-codex hook stop"}, {"type": "command", "command": "also"}]}
    users["Stop"].append(mixed)
    other = [{"hooks": [{"command": "mngr-codex hook"}, {"command": "'open"}, {"command": None}, "text"]}, "text"]
    program = Path("/agent/mngr-codex")
    groups = build_hooks(program, users, {"Stop": other})["hooks"]
    assert [list(groups), [len(groups[event]) for event in HOOKS if event != "Stop"]] == [list(HOOKS), [1] * 12]
    mine = {"hooks": [{"type": "command", "command": "mine"}]}
    also = {"hooks": [{"type": "command", "command": "also"}]}
    assert groups["Stop"] == [*build_hooks(program)["hooks"]["Stop"], mine, also, *other]
