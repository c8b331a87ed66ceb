"""A user with a Codex home, who deploys a repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from loguru import logger

CHATGPT_LOGIN = '{"auth_mode":"chatgpt","tokens":{"access_token":"a","refresh_token":"r"}}'
API_KEY_LOGIN = '{"auth_mode":"apikey","OPENAI_API_KEY":"sk-test"}'


class Deployer:
    """A user's home and repository, and the hooks of the plugin that a deployment calls."""

    def __init__(self, home: Path, repository: Path, mngr_ctx: Any) -> None:
        self.home, self.repository, self.mngr_ctx = home, repository, mngr_ctx
        self.codex_home = home / ".codex"
        repository.mkdir()

    def write(self, name: str, content: str = "content") -> Path:
        """Writes a file of the Codex home."""
        path = self.codex_home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def files(self, *, user: bool = True, project: bool = True) -> dict[str, str]:
        """Returns the contents of the deployed files by their destination, as mngr collects them."""
        from imbue.mngr.providers.deploy_utils import collect_deploy_files

        collected = collect_deploy_files(self.mngr_ctx, self.repository, user, project)
        # mngr's own providers deploy files as well.
        return {
            str(path): source if isinstance(source, str) else source.read_text()
            for path, source in collected.items()
            if ".codex" in path.parts
        }

    def variables(self, **variables: str) -> dict[str, str]:
        """Returns the variables after the plugin has added its own."""
        self.mngr_ctx.pm.hook.modify_env_vars_for_deploy(mngr_ctx=self.mngr_ctx, env_vars=variables)
        return variables

    def set_types(self, **types: dict[str, Any]) -> None:
        """Replaces the agent types in mngr's settings."""
        from imbue.mngr.primitives import AgentTypeName

        from mngr_codex.plugin.config import CodexAgentConfig

        configs = {
            AgentTypeName(name): CodexAgentConfig(
                **{"parent_type": AgentTypeName("codex"), **values} if name != "codex" else values
            )
            for name, values in types.items()
        }
        config = self.mngr_ctx.config
        self.mngr_ctx = self.mngr_ctx.model_copy(update={"config": config.model_copy(update={"agent_types": configs})})


@pytest.fixture
def deployer(home: Path, host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployer:
    for name in ("CODEX_HOME", "MNGR_AGENT_STATE_DIR", "OPENAI_API_KEY", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return Deployer(home, tmp_path / "repository", host.mngr_ctx)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """The warnings that are logged during a test."""
    logged: list[str] = []
    sink = logger.add(lambda message: logged.append(str(message.record["message"])), level="WARNING")
    yield logged
    logger.remove(sink)


@pytest.fixture
def schedule_add() -> Any:
    """Returns the context of a running `mngr schedule add`."""

    def context(arguments: str, command: str | None = None) -> click.Context:
        group = click.Group("schedule")
        running = click.Context(click.Command("add"), parent=click.Context(group, info_name="schedule"))
        running.params = {"args": arguments, "command": command}
        return running

    return context
