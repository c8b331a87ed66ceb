"""Whether Codex knows a model provider, which it needs to resume a session that used it."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from mngr_codex.plugin.command_setting import for_subcommand

if TYPE_CHECKING:
    from imbue.mngr.interfaces.host import OnlineHostInterface


def is_unknown(host: OnlineHostInterface, provider: str, *, command: str, uses_user_config: bool) -> bool:
    """Asks Codex whether it lacks a model provider: its own ones differ between versions. Takes less than 0.1 s.

    The answer of a Codex that does not run, or that fails for another reason, counts as no.

    Args:
        host: The host that runs Codex.
        provider: The name of the provider.
        command: The ``command`` setting, as a shell would run it.
        uses_user_config: Whether Codex reads the user's ``config.toml``, which can define providers.
    """
    linked = 'ln -s "$HOME/.codex/config.toml" "$CODEX_HOME"' if uses_user_config else ""
    script = f"""\
CODEX_HOME=$(mktemp -d) || exit 0
export CODEX_HOME
trap 'rm -rf "$CODEX_HOME"' EXIT
cd "$CODEX_HOME" || exit 0
{linked}
{for_subcommand(command)} -c {shlex.quote(f"model_provider={json.dumps(provider)}")} features list </dev/null 2>&1"""
    result = host.execute_idempotent_command(f"bash -c {shlex.quote(script)}", timeout_seconds=20.0)
    # Seen on 0.136, 0.147, 0.163 and 0.171.
    return f"Model provider `{provider}` not found" in result.stdout
