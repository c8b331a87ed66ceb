"""What is put on an agent's host before codex starts there."""
from __future__ import annotations
import sysconfig, json
from pathlib import Path
from mngr_codex.plugin import launch, paths
from imbue.mngr.agents.common_transcript import maybe_provision_common_transcript_scripts, provision_raw_transcript_scripts

def provision(agent, host, options, mngr_ctx):
    import os, tomlkit
    sd = agent._get_agent_dir()
    host.write_file(sd/paths.PROGRAM, (Path(sysconfig.get_path("scripts"))/"mngr-codex").read_bytes(), mode="0755")
    host.write_file(sd/paths.LAUNCHER, launch.launcher_script(sd, str(agent.agent_config.command)).encode(), mode="0755")
    home = sd/paths.CODEX_HOME
    events = ["SessionStart","UserPromptSubmit","PreModelRequest","PreToolUse","PermissionRequest","PostToolUse","SubagentStart","SubagentStop","Stop","Interrupt"]
    import re
    kebab=lambda s: re.sub(r"(?<!^)([A-Z])", r"-\1", s).lower()
    hooks={"hooks":{e:[{"hooks":[{"type":"command","command":f"'{sd/paths.PROGRAM}' hook {kebab(e)}"}]}] for e in events}}
    host.write_file(home/"hooks.json", json.dumps(hooks).encode())
    cfg={"cli_auth_credentials_store":"file","check_for_update_on_startup":False,"sandbox_mode":agent.agent_config.sandbox_mode,
      "notice":{"model_migrations":{"gpt-5.5":"gpt-6-sol"},"hide_full_access_warning":True},"features":{"daemon_auto_start":False}, "projects":{str(agent.work_dir):{"trust_level":"trusted"}}}
    if agent.agent_config.model: cfg["model"]=agent.agent_config.model
    if agent.agent_config.auto_allow_permissions: cfg["approval_policy"]="never"
    cfg.update(agent.agent_config.config_overrides)
    host.write_file(home/"config.toml", tomlkit.dumps(cfg).encode())
    a=home/"auth.json"
    if not a.is_symlink(): a.symlink_to(Path.home()/".codex/auth.json")
    maybe_provision_common_transcript_scripts(agent, host, sd, mngr_ctx.concurrency_group)
    provision_raw_transcript_scripts(agent, host, sd, mngr_ctx.concurrency_group)
