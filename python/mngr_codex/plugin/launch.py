"""The command that starts codex for an agent, anew or in the session where it was."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mngr_codex.plugin import paths

if TYPE_CHECKING:
    from pathlib import Path

# In place of this script comes codex itself, so codex has the process id of the script: the watcher is told of it
# before codex is there, and ends with it. The watcher is no child of codex, which would never reap it.
_LAUNCHER = """\
#!/bin/sh
# Starts codex for this agent, in the session where it was, and what follows it. Arguments go to codex.
state={state}
program=$state/{program}
home=$state/{codex_home}
session_file=$state/{root_session}

export MNGR_AGENT_STATE_DIR="$state"
mkdir -p "$state/plugin/codex" && : >"$state/{started}"
if [ -x "$program" ]; then
    # Nothing of a codex that was killed may count for the next one.
    "$program" marker reset || echo "mngr-codex: the marker could not be reset; mngr codex doctor tells more" >&2
    (
        trap '' HUP INT
        # One that was killed comes again, as long as codex and the agent are there.
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
        # Without the folder 0.138 asks in which one to go on, if the session was begun in another.
        set -- resume "$session" -C "$PWD" "$@"
    else
        echo "mngr-codex: the rollout of session $session is gone, so codex starts a new session" >&2
    fi
fi
exec env CODEX_HOME="$home" {command} "$@"
"""


def launcher_script(state_dir: Path, command: str) -> str:
    """The script that starts codex.

    Args:
        state_dir: The agent's state dir on its host.
        command: The codex to run, as shell words.

    Returns:
        A POSIX shell script.
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
    """The command that mngr runs in the agent's pane.

    Its first word's file name is ``codex``: by that mngr knows which process is the agent's, also where it does not ask
    the plugin.

    Args:
        state_dir: The agent's state dir on its host.
        arguments: Arguments for codex, as shell words.
    """
    return " ".join([shlex.quote(str(state_dir / paths.LAUNCHER)), *arguments])
