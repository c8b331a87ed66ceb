"""A user's setup and login, deployed to a machine without any, runs scheduled agents there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machine import PROFILE, Machine, MakeMachine, until
from tests.support.rule_based_model import Model, asked

pytestmark = pytest.mark.slow

# As `mngr schedule` does, which needs an account at Modal.
DEPLOY = """
import sys
from pathlib import Path
from shutil import copy2
from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
from imbue.mngr.config.loader import load_config
from imbue.mngr.main import get_or_create_plugin_manager
from imbue.mngr.providers.deploy_utils import collect_deploy_files

home, project = Path(sys.argv[1]), Path(sys.argv[2])
with ConcurrencyGroup(name="deploy") as group:
    context = load_config(get_or_create_plugin_manager(), group)
    for destination, source in collect_deploy_files(context, Path.cwd()).items():
        text = str(destination)
        path = home / text[2:] if text.startswith("~/") else project / text
        path.parent.mkdir(parents=True, exist_ok=True)
        copy2(source, path) if isinstance(source, Path) else path.write_text(source)
"""


class User:
    """The home and the repository of the user who deploys."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.home = folder / "home"
        self.repository = folder / "repository"
        self.repository.mkdir(parents=True)
        profile = self.home / ".mngr" / "profiles" / PROFILE
        profile.mkdir(parents=True)
        (self.home / ".mngr" / "config.toml").write_text(f'profile = "{PROFILE}"\n')
        (profile / "settings.toml").write_text('enabled_backends = ["local"]\n')
        self.write(
            "config.toml",
            f"""\
model = "gpt-5.5"
model_provider = "scripted"
sandbox_mode = "danger-full-access"
log_dir = "{folder}/logs"
[model_providers.scripted]
name = "scripted"
base_url = "{base_url}"
wire_api = "responses"
requires_openai_auth = true
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
[features]
apps = false
plugins = false
[projects."{self.repository}"]
trust_level = "trusted"
""",
        )

    def write(self, name: str, text: str) -> None:
        path = self.home / ".codex" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def deploy(self, machine: Machine, **variables: str) -> None:
        """Copies the files that a deployment collects to a machine."""
        environment = {"HOME": str(self.home), "PATH": os.defpath, "LANG": "C.UTF-8", **variables}
        command: list[str | Path] = [sys.executable, "-c", DEPLOY, machine.home, machine.repository]
        subprocess.run(command, cwd=self.repository, env=environment, check=True)


@pytest.fixture
def user(folder: Path, model: Model) -> User:
    return User(folder / "user", model.base_url)


def empty(machine: Machine, settings: str = "") -> Machine:
    """Removes the login and all settings of a machine, and replaces them with these of the agent type."""
    (machine.home / ".codex" / "auth.json").unlink()
    (machine.home / ".codex").rmdir()
    (machine.profile / "settings.toml").write_text(f'enabled_backends = ["local"]\n{settings}')
    return machine


# What `mngr schedule add` adds to the arguments of `mngr create`, and one of the options of which it requires one.
SCHEDULED = ("--headless", "--no-connect", "--host-label", "SCHEDULE=nightly", "--reuse")
CONSENT = "[agent_types.codex]\nauto_dismiss_dialogs = true\n"


@pytest.mark.parametrize("login", ["auth.json", "CODEX_API_KEY"])
def test_a_deployed_setup_runs_an_agent(make_machine: MakeMachine, user: User, model: Model, login: str) -> None:
    machine = empty(make_machine(), CONSENT)
    create = ("create", "nightly", "codex", *SCHEDULED, "--message", "Are you there?")
    user.write("AGENTS.md", "Answer like a lighthouse keeper.\n")
    user.write("skills/knots/SKILL.md", "---\nname: knots\ndescription: Ties knots for sailors.\n---\nTie.\n")
    user.write("sessions/2026/11/22/rollout-x.jsonl", "{}\n")
    user.write("history.jsonl", "{}\n")

    user.deploy(machine)
    refused = machine.mngr(*create, status=None)
    assert refused.status != 0 and "Codex is not logged in" in refused.stderr

    key = {"auth_mode": "apikey", "OPENAI_API_KEY": "sk-deployed"}
    if login == "auth.json":
        user.write("auth.json", json.dumps(key))
        user.deploy(machine)
    else:
        user.deploy(machine, CODEX_API_KEY="sk-deployed")
    assert sorted(path.name for path in (machine.home / ".codex").iterdir()) == [
        *("AGENTS.md", "auth.json", "config.toml", "skills")
    ]
    assert json.loads((machine.home / ".codex" / "auth.json").read_text()) == key
    assert str(user.repository) not in (machine.home / ".codex" / "config.toml").read_text()

    machine.mngr(*create)
    agent = machine.agent("nightly")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")
    request = next(each for each in model.requests if asked(each) == "Are you there?")
    assert "Answer like a lighthouse keeper." in json.dumps(request)
    assert "Ties knots for sailors." in json.dumps(request)
    # The next night.
    machine.mngr(*create)
    until(lambda: agent.answers() == ["You said: Are you there?"] * 2, description="the second answer")


def test_a_scheduled_agent_needs_consent_in_the_settings_of_its_type(machine: Machine) -> None:
    """The error names the setting, which works, as does the option for one command."""
    settings = machine.profile / "settings.toml"
    settings.write_text(f'{settings.read_text()}\n[agent_types.nightly]\nparent_type = "codex"\n')
    refused = machine.mngr("create", "t", "nightly", *SCHEDULED, status=None)
    assert refused.status != 0
    assert "auto_dismiss_dialogs = true under [agent_types.nightly]" in refused.stderr
    option = "agent_types.codex.auto_dismiss_dialogs=true"
    assert f"-S {option}" in refused.stderr
    machine.mngr("create", "t", "nightly", *SCHEDULED, "-S", option)
    settings.write_text(f"{settings.read_text()}auto_dismiss_dialogs = true\n")
    machine.mngr("create", "u", "nightly", *SCHEDULED)
    assert len(machine.agent_dirs()) == 2
