"""The command that starts Codex for an agent, in a new session or in the agent's last one."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mngr_codex.plugin import paths
from mngr_codex.plugin.command_setting import with_program

if TYPE_CHECKING:
    from pathlib import Path

_MAXIMUM_LOG_BYTES = 2000 * 512
"""The length at which the log is emptied. It is a multiple of 512, the unit of `ulimit -f`."""
_COMMAND_OPTION = "--mngr-codex-command"

# The script replaces itself with Codex, so Codex has the script's process id. The watcher gets that id before Codex
# starts, and exits when Codex does. It is not a child of Codex, which would never reap it.
#
# Codex's standard error goes through a named pipe to `tee`, which writes it to the log and to the terminal. A pipeline
# would make Codex a child of the script, and process substitution is not POSIX. `tee` exits when all processes that
# have the pipe have exited; it ignores the signals that end Codex, because Codex aborts if it cannot write an error.
#
# The script opens both ends of the pipe itself, so it never waits for `tee`. On Linux and macOS, opening a pipe for
# reading and writing does not block, and neither does opening either end afterwards. A shell that is no child of Codex
# keeps the reading end open, and runs `tee` with a limit of the file size. The limit ends a `tee` that has filled the
# log; the shell then empties the log and starts another. If `tee` ends in another way, the shell passes errors on.
_LAUNCHER = """\
#!/bin/sh
# Starts the watcher and Codex for this agent, in its last session if there is one. Arguments are passed to Codex.
# {option} before them names another command that runs Codex.
given={given}
command={command}
{path_check}if [ "${{1-}}" = {option} ]; then
    [ "$2" = "$given" ] || command=$2
    shift 2
fi
# The state directory may have been moved since this script was written.
case $0 in /*) path=$0 ;; *) path= ;; esac
[ -n "$path" ] && [ ! -h "$path" ] || path=$(readlink -f -- "$0" 2>/dev/null) || path=
case $path in
    /*/{launcher}) state=${{path%/{launcher}}} ;;
    *) state={state} ;;
esac
program=$state/{program}
home=$state/{codex_home}
session_file=$state/{root_session}

export MNGR_AGENT_STATE_DIR="$state"
mkdir -p "$state/plugin/codex" && true >"$state/{started}"
true >"$state/{process_started}"
log=$state/{log} pipe=$state/{pipe}
rm -f "$pipe"
# A failed redirection of `:` or `exec` would end the script.
true >"$log" || log=/dev/null
if mkfifo -m 600 "$pipe" && command exec 3<>"$pipe" 4<"$pipe" 5>"$pipe"; then
    ( (
        trap '' HUP INT PIPE TERM
        exec 6>&2 </dev/null >/dev/null 2>/dev/null 3>&- 5>&-
        while
            (ulimit -c 0; ulimit -f {log_blocks}; exec tee -a "$log" <&4 >&6 4<&- 6>&-)
            [ $? -gt 128 ] && [ "$(wc -c <"$log")" -ge {log_bytes} ]
        do
            true >"$log"
        done
        while IFS= read -r line || [ -n "$line" ]; do
            printf '%s\\n' "$line" >&6
        done <&4
    ) & )
    exec 2>&5
fi
exec 3>&- 4<&- 5>&-
rm -f "$pipe"
if [ -x "$program" ]; then
    # The state that a killed Codex left must not apply to this one.
    "$program" marker reset >/dev/null || {{
        echo "mngr-codex: cannot reset the RUNNING/WAITING state" >&2
        echo 'hint: run `mngr codex doctor`' >&2
    }}
    (
        trap '' HUP INT
        # A killed watcher is restarted as long as Codex runs and the agent exists.
        until "$program" watch --with-pid $$ </dev/null >/dev/null; do
            sleep 1
            kill -0 $$ 2>/dev/null && [ -x "$program" ] || exit 0
            [ "$(wc -c <"$log")" -lt {log_bytes} ] || true >"$log"
        done
    ) 2>>"$log" &
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
eval "exec env CODEX_HOME=\\"\\$home\\" $command {arguments}\\"\\$@\\""
"""


_PATH_CHECK = """\
# Codex was not on PATH when the agent was created. It may be there by now.
[ -x {path} ] || command=$given
"""


def launcher_script(
    state_dir: Path, command: str, arguments: tuple[str, ...] = (), *, codex_path: str | None = None
) -> str:
    """Returns the POSIX shell script that starts Codex.

    Args:
        state_dir: The agent's state directory on its host. It is used if the script cannot find itself.
        command: The command that runs Codex, as shell words.
        arguments: Arguments that Codex gets with any command, before all others.
        codex_path: The path of Codex if it is not on PATH.
    """
    return _LAUNCHER.format(
        state=shlex.quote(str(state_dir)),
        launcher=paths.LAUNCHER,
        program=paths.PROGRAM,
        codex_home=paths.CODEX_HOME,
        root_session=paths.ROOT_SESSION,
        started=paths.STARTED,
        process_started=paths.PROCESS_STARTED,
        log=paths.STDERR_LOG,
        pipe=paths.STDERR_PIPE,
        log_bytes=_MAXIMUM_LOG_BYTES,
        log_blocks=_MAXIMUM_LOG_BYTES // 512,
        option=_COMMAND_OPTION,
        given=shlex.quote(command),
        command=shlex.quote(with_program(command, codex_path) if codex_path else command),
        path_check=_PATH_CHECK.format(path=shlex.quote(codex_path)) if codex_path else "",
        arguments="".join(f"{argument} " for argument in arguments),
    )


def launch_command(state_dir: Path, arguments: tuple[str, ...], command: str | None = None) -> str:
    """Returns the command that mngr runs in the agent's pane.

    The file name of its first word is ``codex``, because parts of mngr recognize the agent's process by that name
    without asking the plugin.

    Args:
        state_dir: The agent's state directory on its host.
        arguments: Arguments for Codex, as shell words.
        command: The command that runs Codex, as shell words, if it is not the one in the script.
    """
    option = () if command is None else (_COMMAND_OPTION, shlex.quote(command))
    return " ".join([shlex.quote(str(state_dir / paths.LAUNCHER)), *option, *arguments])


def command_in(script: str) -> str | None:
    """Returns the command that runs Codex, as shell words, in a script of :func:`launcher_script`."""
    for line in script.splitlines():
        if line.startswith("command="):
            try:
                (word,) = shlex.split(line)
            except ValueError:
                return None
            return word.removeprefix("command=")
    return None
