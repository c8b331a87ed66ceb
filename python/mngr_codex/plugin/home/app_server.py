"""What Codex reports about itself before an agent starts: its version, its hooks with their hashes, and its models.

``codex app-server`` lists hooks with keys and hashes (``hooks/list``, seen on 0.130, 0.138, 0.147, 0.154, 0.163 and
0.169).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.command_setting import for_subcommand

if TYPE_CHECKING:
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

ANSWER_SECONDS = 20
"""How long Codex has to answer. It takes 0.1-0.4 s, and longer if its 200 MB are read from a slow disk."""

_INITIALIZE, _HOOKS, _MODELS = 1, 2, 3

MODEL_LIST: Mapping[str, Any] = {
    "id": _MODELS,
    "method": "model/list",
    "params": {"includeHidden": True, "limit": 1000},
}
"""The request for the models. Without a login, and with an API key, Codex answers with those that it was built with."""


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A hook as Codex lists it."""

    key: str
    """Its name in ``hooks.state``: file, event, and index in the file."""
    event: str
    """The event that triggers it, as the app-server spells it (``userPromptSubmit``)."""
    command: str
    """The command that it runs. Empty for hooks that are not commands."""
    source: str
    """Its origin: ``user``, ``project``, ``plugin``, or a kind that an administrator manages."""
    source_path: str
    """The file that defines it."""
    current_hash: str
    """The hash of its event, matcher, command and timeout; independent of its file."""
    is_managed: bool = False
    """Whether an administrator has set it. Such a hook runs regardless of ``hooks.state``."""

    @property
    def is_from_repository(self) -> bool:
        """Whether it belongs to the agent's work directory. A hook from an unknown source counts as such."""
        return not self.is_managed and self.source not in {"user", "plugin", "sessionFlags"}

    def __str__(self) -> str:
        """Returns a description for people: one line, without characters that a terminal would act on."""
        text = f"{self.event}: {self.command or '(no command)'}  [{self.source_path}]"
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


@dataclass(frozen=True, kw_only=True)
class CodexReport:
    """The answers of Codex's app-server."""

    version: str | None = None
    """The version of Codex; None if it did not answer at all."""
    hooks: tuple[Hook, ...] | None = None
    """The hooks that would run in the work directory; None if this Codex cannot list them."""
    model_upgrades: Mapping[str, str] = field(default_factory=dict)
    """The replacement that Codex offers for each outdated model."""
    problem: str | None = None
    """Why ``hooks`` is None."""
    diagnostics: tuple[str, ...] = ()
    """Codex's errors and warnings about the agent's settings and about files with hooks."""

    @property
    def repository_hooks(self) -> tuple[Hook, ...]:
        """The hooks of the agent's work directory."""
        return tuple(hook for hook in self.hooks or () if hook.is_from_repository)


def query_codex(host: OnlineHostInterface, *, command: str, codex_home: Path, work_dir: Path) -> CodexReport:
    """Asks Codex for the hooks of an agent, as :func:`query_script` describes it.

    Args:
        host: The host that runs Codex.
        command: The ``command`` setting, as a shell would run it.
        codex_home: The agent's ``CODEX_HOME``.
        work_dir: The agent's work directory.
    """
    return _run(host, query_script(command=command, codex_home=codex_home, work_dir=work_dir), command)


def query_script(*, command: str, codex_home: Path, work_dir: Path) -> str:
    """Returns a bash script that asks Codex for the hooks of an agent and for the models that it would replace.

    ``config.toml`` and ``hooks.json`` must exist by then: Codex lists the hooks in these files, and the hooks of a
    directory only if the directory is trusted. Takes 0.1-0.4 s and does not use the network.

    Args:
        command: The ``command`` setting, as a shell would run it.
        codex_home: The agent's ``CODEX_HOME``.
        work_dir: The agent's work directory.
    """
    return f"export CODEX_HOME={shlex.quote(str(codex_home))}\n{_query(command, work_dir)}"


def query_codex_before_consent(host: OnlineHostInterface, *, command: str, work_dir: Path) -> CodexReport:
    """Asks Codex for the hooks of a directory before the user has trusted it.

    Codex reads the directory as if it were trusted, in a temporary home that only this query uses. It runs none of the
    hooks, and the home is removed afterwards.

    Args:
        host: The host with Codex and the directory.
        command: The ``command`` setting, as a shell would run it.
        work_dir: The directory, or the repository that the agent's worktree will be created from: both have the same
            hooks.
    """
    trust = f'[projects.{json.dumps(str(work_dir), ensure_ascii=False)}]\ntrust_level = "trusted"'
    # Codex may look the directory up by its path without symlinks.
    script = f"""\
cd {shlex.quote(str(work_dir))} || exit 1
CODEX_HOME=$(mktemp -d) || exit 1
export CODEX_HOME
scratch=$CODEX_HOME
printf '%s\\n' {shlex.quote(trust)} >"$CODEX_HOME/config.toml"
real=$(pwd -P)
case $real in
{shlex.quote(str(work_dir))} | *[\\"\\\\]*) ;;
*) printf '[projects."%s"]\\ntrust_level = "trusted"\\n' "$real" >>"$CODEX_HOME/config.toml" ;;
esac
{_query(command, work_dir)}"""
    return _run(host, script, command)


def _query(command: str, work_dir: Path) -> str:
    """Returns the part of a script that queries Codex in ``$CODEX_HOME`` and prints its answers, one per line.

    Without a login Codex does not fetch its models from the network, which can take seconds.
    """
    hooks = {"id": _HOOKS, "method": "hooks/list", "params": {"cwds": [str(work_dir)]}}
    return exchange(command, [MODEL_LIST, hooks], options="-c cli_auth_credentials_store=ephemeral")


def exchange(command: str, requests: Sequence[Mapping[str, Any]], *, options: str) -> str:
    """Returns a part of a bash script that sends requests to an app-server and prints the answers, one per line.

    Codex exits without answering if its standard input ends, so the input stays open until all answers have arrived.
    The host is guaranteed to have bash and nothing else. Codex runs outside the work directory, so that only the list
    of hooks depends on that directory's content.

    Args:
        command: The ``command`` setting, as a shell would run it.
        requests: The requests after the initialization, with their ids.
        options: Options of Codex, as shell words. The script must export ``CODEX_HOME``.
    """
    client = {"clientInfo": {"name": "mngr-codex", "version": "1"}}
    requests = [
        {"id": _INITIALIZE, "method": "initialize", "params": client},
        {"method": "initialized"},
        *requests,
    ]
    lines = " ".join(shlex.quote(json.dumps(request, separators=(",", ":"))) for request in requests)
    return f"""\
# A backtrace would push the error message out of the last lines.
unset RUST_BACKTRACE
trap '' PIPE
trap 'rm -rf "${{pipes-}}" "${{scratch-}}"' EXIT
pipes=$(mktemp -d) && mkfifo "$pipes/in" "$pipes/out" && cd "$CODEX_HOME" || exit 1
{for_subcommand(command)} {options} app-server <"$pipes/in" >"$pipes/out" 2>"$pipes/err" &
codex=$!
exec 3>"$pipes/in" 4<"$pipes/out"
printf '%s\\n' {lines} >&3
left={len(requests) - 1} end=$((SECONDS + {ANSWER_SECONDS}))
while [ $left -gt 0 ] && [ $SECONDS -lt $end ] && IFS= read -r -t {ANSWER_SECONDS} line <&4; do
    case $line in
    '{{"method"'*) ;;
    *) printf '%s\\n' "$line"; left=$((left - 1)) ;;
    esac
done
exec 3>&- 4<&-
kill $codex 2>/dev/null
wait $codex
[ $left -eq 0 ] || {{ tail -n 3 "$pipes/err" >&2; exit 1; }}
"""


def _run(host: OnlineHostInterface, script: str, command: str) -> CodexReport:
    result = host.execute_idempotent_command(
        f"bash -c {shlex.quote(script)}", timeout_seconds=float(ANSWER_SECONDS + 5)
    )
    return report_of(result.stdout, result.stderr, command)


def report_of(stdout: str, stderr: str, command: str) -> CodexReport:
    """Returns the report in the output of a query.

    Args:
        stdout: The answers, and other lines.
        stderr: The reason if Codex did not answer.
        command: The ``command`` setting.
    """
    report = parse_answers(stdout)
    if report.hooks is None and report.problem is None:
        errors = "; ".join(line.strip() for line in stderr.splitlines() if line.strip())
        problem = f"`{command} app-server` did not list its hooks" + (f": {errors}" if errors else "")
        return CodexReport(version=report.version, model_upgrades=report.model_upgrades, problem=problem)
    return report


def parse_answers(answers: str) -> CodexReport:
    """Parses the answers of Codex's app-server.

    Args:
        answers: One JSON object per line, in any order. Other lines are ignored.
    """
    version, hooks, upgrades, problem = None, None, {}, None
    diagnostics: list[str] = []
    for answer in _answers(answers):
        result = answer.get("result")
        if answer.get("id") == _HOOKS and "error" in answer:
            problem = f"Codex cannot list its hooks: {text_of(answer['error'], 'message').partition(',')[0]}"
        if not isinstance(result, dict):
            continue
        if answer.get("id") == _INITIALIZE:
            # "mngr-codex/0.163.0 (Debian 12.0.0; x86_64) xterm (mngr-codex; 1)"
            found = re.match(r"[^/]*/(\S+)", text_of(result, "userAgent"))
            version = found.group(1) if found else None
        elif answer.get("id") == _HOOKS:
            listed = [hook for folder in list_of(result, "data") for hook in list_of(folder, "hooks")]
            for folder in list_of(result, "data"):
                diagnostics += [text_of(error, "message") for error in list_of(folder, "errors")]
                diagnostics += [warning for warning in list_of(folder, "warnings") if isinstance(warning, str)]
            if all(text_of(hook, "key") and text_of(hook, "currentHash") for hook in listed):
                hooks = tuple(_hook(hook) for hook in listed)
            else:
                problem = "Codex lists its hooks without hashes"  # seen on 0.128
        elif answer.get("id") == _MODELS:
            upgrades = {
                text_of(model, "model"): text_of(model, "upgrade")
                for model in list_of(result, "data")
                if text_of(model, "model") and text_of(model, "upgrade")
            }
    return CodexReport(
        version=version,
        hooks=hooks,
        model_upgrades=upgrades,
        problem=problem,
        diagnostics=tuple(filter(None, diagnostics)),
    )


def listed_models(answers: str) -> list[Any] | None:
    """Returns the models in the answers of Codex's app-server; None if it has not answered.

    Args:
        answers: One JSON object per line, in any order. Other lines are ignored.
    """
    results = [answer.get("result") for answer in _answers(answers) if answer.get("id") == _MODELS]
    return next((list_of(result, "data") for result in results if isinstance(result, dict)), None)


def _answers(text: str) -> Iterator[dict[str, Any]]:
    for line in text.split("\n"):
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(answer, dict):
            yield answer


def _hook(listed: Any) -> Hook:
    return Hook(
        key=text_of(listed, "key"),
        event=text_of(listed, "eventName"),
        command=text_of(listed, "command"),
        source=text_of(listed, "source"),
        source_path=text_of(listed, "sourcePath"),
        current_hash=text_of(listed, "currentHash"),
        is_managed=listed.get("isManaged") is True,
    )


def text_of(table: Any, key: str) -> str:
    """Returns the string at a key; an empty string if it is missing."""
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""


def list_of(table: Any, key: str) -> list[Any]:
    """Returns the list at a key; an empty list if it is missing."""
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, list) else []
