"""The command that starts Codex for an agent, in a new session or in the agent's last one."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mngr_codex.plugin import paths

if TYPE_CHECKING:
    from pathlib import Path

# The script replaces itself with Codex, so Codex has the script's process id. The watcher gets that id before Codex
# starts, and exits when Codex does. It is not a child of Codex, which would never reap it.
_LAUNCHER = """\
#!/bin/sh
# Starts the watcher and Codex for this agent, in its last session if there is one. Arguments are passed to Codex.
state={state}
program=$state/{program}
home=$state/{codex_home}
session_file=$state/{root_session}

export MNGR_AGENT_STATE_DIR="$state"
mkdir -p "$state/plugin/codex" && : >"$state/{started}"
if [ -x "$program" ]; then
    # The state that a killed Codex left must not apply to this one.
    "$program" marker reset >/dev/null || {{
        echo "mngr-codex: cannot reset the RUNNING/WAITING state" >&2
        echo 'hint: run `mngr codex doctor`' >&2
    }}
    (
        trap '' HUP INT
        # A killed watcher is restarted as long as Codex runs and the agent exists.
        until "$program" watch --with-pid $$ </dev/null >/dev/null 2>&1; do
            sleep 1
            kill -0 $$ 2>/dev/null && [ -x "$program" ] || exit 0
        done
    ) &
fi

session=
[ ! -f "$session_file" ] || IFS= read -r session <"$session_file" || :
case $session in *[!A-Za-z0-9-]*) session= ;; esac
if [ -n "$session" ]; then
    rollouts=$(find -H "$home/sessions" "$home/archived_sessions" -name "rollout-*$session*.jsonl*" 2>/dev/null)
    if [ -n "$rollouts" ]; then
        # Without -C, 0.138 asks which directory to resume in if the session was started in a different one.
        set -- resume "$session" -C "$PWD" "$@"
    else
        echo "mngr-codex: cannot resume session $session: its rollout is missing, so Codex starts a new session" >&2
    fi
fi
exec env CODEX_HOME="$home" {command} "$@"
"""


def launcher_script(state_dir: Path, command: str) -> str:
    """Returns the POSIX shell script that starts Codex.

    Args:
        state_dir: The agent's state directory on its host.
        command: The command that runs Codex, as shell words.
    """
    return _LAUNCHER.format(
        state=shlex.quote(str(state_dir)),
        program=paths.PROGRAM,
        codex_home=paths.CODEX_HOME,
        root_session=paths.ROOT_SESSION,
        started=paths.STARTED,
        command=command,
    )


def launch_command(state_dir: Path, arguments: tuple[str, ...]) -> str:
    """Returns the command that mngr runs in the agent's pane.

    The file name of its first word is ``codex``, because parts of mngr recognize the agent's process by that name
    without asking the plugin.

    Args:
        state_dir: The agent's state directory on its host.
        arguments: Arguments for Codex, as shell words.
    """
    return " ".join([shlex.quote(str(state_dir / paths.LAUNCHER)), *arguments])
