"""The last output of a Codex that exited."""

from mngr_codex.plugin.messages.startup import last_output

PROMPT = "me@host:~/work$"


def test_the_last_output_has_no_command_and_no_prompt() -> None:
    lines = [PROMPT, f"{PROMPT} . /home/me/.mngr/agents/a/launch_agent.sh", "", "ERROR: no", "  more  ", PROMPT, ""]
    assert last_output("\n".join(lines)) == ["ERROR: no", "  more"]


def test_only_the_last_lines_are_shown() -> None:
    lines = [f"{PROMPT} . launch_agent.sh", *(f"line {number}" for number in range(30))]
    assert last_output("\n".join(lines)) == [f"line {number}" for number in range(18, 30)]
    assert last_output("ERROR: no\n$ ") == ["ERROR: no"]
    assert last_output("ERROR: no\n") == ["ERROR: no"]
    assert last_output("") == []
