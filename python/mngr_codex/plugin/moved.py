"""Makes an agent start whose state directory was moved, for example by mngr's ``mutate_agent_id``."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import MngrError
from loguru import logger

from mngr_codex.plugin import launch, paths
from mngr_codex.plugin.host.place import update_hint

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent
    from imbue.mngr.interfaces.host import OnlineHostInterface

_HOOKS = f"{paths.CODEX_HOME}/hooks.json"
_CONFIG = f"{paths.CODEX_HOME}/config.toml"
_POINTERS = (paths.ROLLOUT, paths.ROLLOUTS)
# The program rebuilds these from the pointer files and the rollouts. They are binary and have a checksum.
_CHECKPOINTS = tuple(f"plugin/mngr_codex/{name}" for name in ("lifecycle", "following", "usage"))
# Codex's database has the paths of the rollouts, and Codex does not resume a session whose path is wrong (seen on
# 0.163). Without the database it finds the rollouts in its home, and creates another one.
_FORGET = """\
rm -f {checkpoints} && cd {home} || exit
for file in state_*.sqlite*; do
    [ ! -e "$file" ] || mv "$file" "moved-$file" || exit
done
"""


def adapted_command(agent: BaseAgent[Any], host: OnlineHostInterface, command: str) -> str:
    """Returns the command that starts an agent, for the place where its state directory is now.

    If that is another place than the command names, the agent's files are adapted to it first. An error about them is
    a warning: Codex then asks for a review of its hooks.

    Args:
        agent: An agent that is not running.
        host: Its host.
        command: The stored command.
    """
    state = agent._get_agent_dir()
    launcher, rest = _split(command)
    suffix = f"/{paths.LAUNCHER}"
    if launcher == str(state) + suffix or not launcher.startswith("/") or not launcher.endswith(suffix):
        return command
    before = Path(launcher.removesuffix(suffix))
    try:
        _adapt(agent, host, before, state)
    except (MngrError, OSError, ValueError) as error:
        logger.warning(
            "cannot adapt agent {} to its new state directory {}: {}\nhint: {}",
            agent.name,
            state,
            error,
            update_hint(host, str(agent.name), str(agent.agent_type)),
        )
    return f"{shlex.quote(str(state / paths.LAUNCHER))}{rest}"


def _split(command: str) -> tuple[str, str]:
    """Returns the first word of a shell command without its quotes, and the rest as it is."""
    stream = io.StringIO(command)
    words = shlex.shlex(stream, posix=True)
    words.whitespace_split = True
    words.commenters = ""
    try:
        first = words.get_token() or ""
    except ValueError:
        return "", command
    rest = command[stream.tell() :]
    return first, f" {rest}" if rest else ""


def _adapt(agent: BaseAgent[Any], host: OnlineHostInterface, before: Path, state: Path) -> None:
    from mngr_codex.plugin.home import hook_trust, hooks_json
    from mngr_codex.plugin.home.app_server import query_codex
    from mngr_codex.plugin.home.config_toml import merge, read_config, render
    from mngr_codex.plugin.home.files import read_text

    def moved(text: str) -> str:
        text = text.replace(f"{before}/", f"{state}/")
        # Codex writes paths without symlinks.
        return text.replace(f"/agents/{before.name}/", f"/agents/{state.name}/") if before.name != state.name else text

    for name in (*_POINTERS, _HOOKS, _CONFIG):
        text = read_text(host, str(state / name))
        if text is not None and moved(text) != text:
            host.write_file(state / name, moved(text).encode(), mode="0600")
    home = state / paths.CODEX_HOME
    script = _FORGET.format(
        checkpoints=shlex.join(str(state / name) for name in _CHECKPOINTS), home=shlex.quote(str(home))
    )
    ran = host.execute_idempotent_command(script, timeout_seconds=10.0)
    if not ran.success:
        raise MngrError((ran.stderr or ran.stdout).strip())
    script = read_text(host, str(state / paths.LAUNCHER)) or ""
    command = launch.command_in(script) or str(agent.agent_config.command)
    report = query_codex(host, command=command, codex_home=home, work_dir=agent.work_dir)
    if report.hooks is None:
        raise MngrError(report.problem or "Codex did not list its hooks")
    # The hashes of the plugin's own hooks depend on the path of the program.
    own = hooks_json.own_commands(state / paths.PROGRAM)
    hooks = [hook for hook in report.hooks if hook_trust.is_own(hook, own, home)]
    trusted = {hook.key: {"trusted_hash": hook.current_hash} for hook in hooks}
    config = read_config(host, str(state / _CONFIG))
    adapted = render(merge(config, {"hooks": {"state": trusted}}))
    host.write_file(state / _CONFIG, adapted.encode(), mode="0600")
