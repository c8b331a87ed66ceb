"""The login and the setup of this machine on a host that has none."""

import json
import tomllib

import pytest

from tests.support.chatgpt_login import chatgpt_login
from tests.support.machine import Machine, MakeMachine, until
from tests.support.remote_host import HOME, MakeHost, Options, RemoteAgent, RemoteHost
from tests.support.rule_based_model import Model, asked

# isort: split
from scripted_model import Json

pytestmark = pytest.mark.slow

MESSAGE = "Are you there?"
API_KEY = {"auth_mode": "apikey", "OPENAI_API_KEY": "sk-test"}


def machine_with_login_needed(make_machine: MakeMachine, **settings: object) -> Machine:
    provider = {"scripted": {"requires_openai_auth": True}}
    return make_machine(config_overrides={"model_providers": provider}, **settings)


def without_login(make_host: MakeHost, machine: Machine) -> RemoteHost:
    return make_host(Options(has_login=False), machine)


def modes(host: RemoteHost, *paths: str) -> list[str]:
    return host.run(f"stat -c '%a %U' {' '.join(paths)}").stdout.splitlines()


def await_answer(agent: RemoteAgent) -> None:
    until(lambda: agent.answers() == [f"You said: {MESSAGE}"], description="the answer")


def request_of(model: Model, text: str = MESSAGE) -> Json:
    return next(request for request in model.requests if asked(request) == text)


def test_an_api_key_goes_to_a_host_without_a_login(make_machine: MakeMachine, make_host: MakeHost) -> None:
    """So the first message arrives."""
    host = without_login(make_host, machine_with_login_needed(make_machine))
    created = host.machine.mngr("create", f"t@{host.address}", "codex", "--yes", "--no-connect", "--message", MESSAGE)
    source = host.machine.home / ".codex" / "auth.json"
    assert f"an API key was copied from {source} to {HOME}/.codex/auth.json on host box" in created.stderr
    agent = host.agent()
    await_answer(agent)
    assert modes(host, "~/.codex", "~/.codex/auth.json") == ["700 alice", "600 alice"]
    assert host.run("cat ~/.codex/auth.json").stdout == source.read_text()
    assert host.run("ls -A ~/.codex").stdout == "auth.json\n"
    assert not list((agent.state / "plugin/codex/home").glob(".mngr-login*"))
    # The next agent finds it there.
    again = host.machine.mngr("create", f"u@{host.address}", "codex", "--yes", "--no-connect")
    assert "copied" not in again.stderr


def test_a_login_of_the_host_stays(make_machine: MakeMachine, make_host: MakeHost) -> None:
    machine = machine_with_login_needed(make_machine, carry_login=True)
    host = make_host(Options(), machine)
    theirs = json.dumps({**API_KEY, "OPENAI_API_KEY": "sk-theirs"})
    host.write(HOME / ".codex/auth.json", theirs, mode=0o640)
    (machine.home / ".codex" / "auth.json").write_text(chatgpt_login())
    host.create("t", "--message", MESSAGE)
    await_answer(host.agent())
    assert host.run("cat ~/.codex/auth.json").stdout == theirs
    assert modes(host, "~/.codex/auth.json") == ["640 alice"]


def test_a_chatgpt_login_stays_here_unless_it_is_asked_for(make_machine: MakeMachine, make_host: MakeHost) -> None:
    """Of two copies of it only one stays valid."""
    machine = machine_with_login_needed(make_machine)
    host = without_login(make_host, machine)
    (machine.home / ".codex" / "auth.json").write_text(chatgpt_login())
    place = ("create", f"t@{host.address}", "codex", "--yes", "--no-connect")
    refused = machine.mngr(*place, "--message", MESSAGE, status=None)
    assert refused.status != 0 and "Codex is not logged in on host box" in refused.stderr
    assert "it is a ChatGPT login, which works in one place only" in refused.stderr
    assert "set carry_login = true" in refused.stderr and "codex login --device-auth` first" in refused.stderr
    assert not list(host.path(host.host_dir).glob("agents/*"))
    # Without a first message, the user can log in inside the agent's own Codex.
    created = machine.mngr(*place)
    assert "The login of this machine was not copied: it is a ChatGPT login" in created.stderr
    assert "alice@127.0.0.1 codex login --device-auth`, or log in with `mngr connect t`" in created.stderr
    agent = host.agent()
    assert modes(host, "~/.codex") == ["700 alice"] and host.run("ls -A ~/.codex").stdout == ""
    refused = agent.message(MESSAGE, status=1)
    assert "its login screen" in refused.stderr and "alice@127.0.0.1 codex login --device-auth`" in refused.stderr
    agent.press("3")
    until(lambda: "your API key" in agent.pane() or "1. Use an OpenAI API key" in agent.pane(), description="the key")
    if "your API key" not in agent.pane():
        agent.press("1")  # 0.171 asks for the kind of login first
        until(lambda: "your API key" in agent.pane(), description="the field for the API key")
    agent.press("sk-typed", "Enter")
    until(lambda: "sk-typed" in host.run("cat ~/.codex/auth.json", check=False).stdout, description="the login")
    assert modes(host, "~/.codex/auth.json") == ["600 alice"]


def test_a_chatgpt_login_is_copied_on_request(make_machine: MakeMachine, make_host: MakeHost) -> None:
    """No server knows this login, so no message is sent with it."""
    machine = machine_with_login_needed(make_machine, carry_login=True)
    host = without_login(make_host, machine)
    login = chatgpt_login()
    (machine.home / ".codex" / "auth.json").write_text(login)
    created = machine.mngr("create", f"t@{host.address}", "codex", "--yes", "--no-connect", status=None)
    assert "this machine or that host can be logged out" in created.stderr
    assert host.run("cat ~/.codex/auth.json").stdout == login
    assert modes(host, "~/.codex/auth.json") == ["600 alice"]


CONFIG = """\
developer_instructions = "Speak Esperanto."
model_reasoning_effort = "low"

[projects."/home/me/private"]
trust_level = "trusted"

[mcp_servers.secret]
command = "false"
env = { DATABASE = "S3CRET" }
"""


def write_setup(machine: Machine) -> None:
    files = {
        "config.toml": CONFIG,
        "AGENTS.md": "Always mention the lighthouse.",
        "skills/anchor/SKILL.md": "---\nname: anchor\ndescription: Drops the anchor in a harbor\n---\nDrop it.\n",
        "prompts/go.md": "Go.",
        "rules/default.rules": "",
        ".env": "KEY=S3CRET\n",
        ".credentials.json": '{"a":{"refresh_token":"S3CRET"}}',
        "history.jsonl": "S3CRET\n",
        "sessions/2026/rollout-x.jsonl": "S3CRET\n",
    }
    for name, text in files.items():
        path = machine.home / ".codex" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_setup_of_this_machine_reaches_the_model(
    make_host: MakeHost, make_machine: MakeMachine, model: Model
) -> None:
    machine = make_machine()
    write_setup(machine)
    host = make_host(None, machine)
    created = machine.mngr("create", f"t@{host.address}", "codex", "--yes", "--no-connect", "--message", MESSAGE)
    names = "AGENTS.md, config.toml, prompts, rules, skills"
    assert f"your Codex setup was copied for this agent on host box: {names}" in created.stderr
    assert "mcp_servers.secret in" in created.stderr and "S3CRET" not in created.stderr
    agent = host.agent()
    await_answer(agent)
    request = json.dumps(request_of(model))
    assert "Always mention the lighthouse." in request and "Speak Esperanto." in request
    assert "Drops the anchor in a harbor" in request
    assert request_of(model)["reasoning"]["effort"] == "low"
    # The user of the host gets nothing of it, and nothing else of this machine is there.
    assert host.run("ls -A ~/.codex").stdout == "auth.json\n"
    assert host.run("grep -rl S3CRET ~ || true").stdout == ""
    config = tomllib.loads((agent.state / "plugin/codex/home/config.toml").read_text())
    assert list(config["projects"]) == [
        str(config_path) for config_path in config["projects"] if "private" not in config_path
    ]
    assert "mcp_servers" not in config or not config["mcp_servers"]


def test_the_setup_of_the_hosts_user_comes_first(make_host: MakeHost, make_machine: MakeMachine, model: Model) -> None:
    """Settings belong together; skills are compared by name."""
    machine = make_machine()
    write_setup(machine)
    host = make_host(None, machine)
    host.write(HOME / ".codex/config.toml", 'developer_instructions = "Speak Latin."\n')
    host.write(HOME / ".codex/AGENTS.md", "Never mention ships.")
    agent = host.create("t", "--message", MESSAGE)
    await_answer(agent)
    request = json.dumps(request_of(model))
    assert "Speak Latin." in request and "Speak Esperanto." not in request
    assert "Never mention ships." in request and "lighthouse" not in request
    assert "Drops the anchor in a harbor" in request


def test_nothing_is_carried_against_the_settings(make_host: MakeHost, make_machine: MakeMachine, model: Model) -> None:
    machine = make_machine(carry_settings=False)
    write_setup(machine)
    host = make_host(None, machine)
    created = machine.mngr("create", f"t@{host.address}", "codex", "--yes", "--no-connect", "--message", MESSAGE)
    assert "copied" not in created.stderr
    agent = host.agent()
    await_answer(agent)
    request = json.dumps(request_of(model))
    assert not [word for word in ("lighthouse", "Esperanto", "anchor") if word in request]
    assert not (agent.state / "plugin/codex/home/.mngr-carried").exists()
