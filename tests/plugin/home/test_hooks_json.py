"""The ``hooks.json`` of an agent."""

from pathlib import Path

from mngr_codex.plugin.home.hooks_json import HOOKS, build_hooks, own_commands


def test_the_users_hooks_follow_the_plugins() -> None:
    group = {"hooks": [{"type": "command", "command": "say done"}]}
    program = Path("/a b/mngr-codex")
    user_config = {"Stop": [group], "state": {"x": {"trusted_hash": "y"}}}
    groups = build_hooks(program, {"Stop": [group], "PostCompact": [group], "SessionStart": "nonsense"}, user_config)[
        "hooks"
    ]
    assert groups["Stop"][1:] == [group, group] and groups["PostCompact"] == [group] and "state" not in groups
    first = [groups[event][0]["hooks"][0]["command"] for event in HOOKS]
    assert tuple(first) == own_commands(program)
    assert "'/a b/mngr-codex' hook stop" in first
