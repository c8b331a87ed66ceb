"""What is put on an agent's host before codex starts there."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbue.mngr.agents.common_transcript import provision_scripts_to_commands_dir
from loguru import logger

from mngr_codex.plugin import codex_home, launch, paths

if TYPE_CHECKING:
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.host import CreateAgentOptions, OnlineHostInterface

    from mngr_codex.plugin.agent import CodexAgent
    from mngr_codex.plugin.config import CodexAgentConfig


def provision(
    agent: CodexAgent, host: OnlineHostInterface, options: CreateAgentOptions, mngr_ctx: MngrContext
) -> None:
    """Put on the host what an agent needs there: the program, codex's home, the launcher and the scripts.

    Args:
        agent: The agent, whose state dir is there already.
        host: Its host.
        options: What it is created with.
        mngr_ctx: mngr's context.
    """
    config = agent.agent_config.validated()
    state_dir = agent._get_agent_dir()
    host.write_file(state_dir / paths.PROGRAM, _own_program().read_bytes(), mode="0755")
    home = codex_home.provision(
        host,
        codex_home=state_dir / paths.CODEX_HOME,
        work_dir=agent.work_dir,
        program=state_dir / paths.PROGRAM,
        command=str(config.command),
        settings=codex_settings(config),
        overrides=config.config_overrides,
        carries_user_config=config.use_user_config,
        trusts_repository=config.trust_repo_hooks,
    )
    for notice in home.notices:
        logger.warning("{}", notice)
    script = launch.launcher_script(state_dir, str(config.command))
    host.write_file(state_dir / paths.LAUNCHER, script.encode(), mode="0755")
    scripts = {**agent.get_raw_transcript_scripts()}
    if agent.is_common_transcript_enabled:
        scripts |= agent.get_common_transcript_scripts()
    provision_scripts_to_commands_dir(host, state_dir, scripts, mngr_ctx.concurrency_group)


def codex_settings(config: CodexAgentConfig) -> dict[str, Any]:
    """What the agent's settings come to in codex's own ``config.toml``."""
    settings = {
        "model": config.model,
        "model_reasoning_effort": config.model_reasoning_effort,
        "sandbox_mode": config.sandbox_mode,
        "approval_policy": "never" if config.auto_allow_permissions else None,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _own_program() -> Path:
    return Path(sysconfig.get_path("scripts")) / "mngr-codex"
