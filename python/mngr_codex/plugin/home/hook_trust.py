"""Which hooks of an agent run: each is trusted or switched off by the hash that codex itself reports.

Codex opens "Hooks need review" for every hook whose hash is not in ``hooks.state`` of its ``config.toml``. Seen on
codex 0.130, 0.138, 0.147, 0.154, 0.163 and 0.169: ``codex app-server`` lists hooks with keys and hashes
(``hooks/list``), an entry with the hash makes the hook run, and one with the hash and ``enabled = false`` keeps it from
running; neither opens the review.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.command_setting import for_subcommand

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

BYPASS = "--dangerously-bypass-hook-trust"
"""The flag with which codex runs every hook that it finds, without review."""

ANSWER_SECONDS = 20
"""How long codex has for its answer. It takes 0.1-0.4 s, and longer where its 200 MB have to come from a slow disk."""

_INITIALIZE, _HOOKS, _MODELS = 1, 2, 3
_NEEDED_EVENTS = frozenset({"userPromptSubmit", "stop"})


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A hook as codex lists it."""

    key: str
    """Its name in ``hooks.state``: file, event, and place in the file."""
    event: str
    """The event that it runs at, as codex's app-server writes it (``userPromptSubmit``)."""
    command: str
    """What it runs. Empty for a kind of hook that is no command."""
    source: str
    """Who brings it: ``user``, ``project``, ``plugin``, or a kind that an administrator manages."""
    source_path: str
    """The file that it stands in."""
    current_hash: str
    """The hash of what it is now: event, matcher, command and timeout, not where it stands."""
    is_managed: bool = False
    """Whether an administrator has set it: then it runs whatever ``hooks.state`` says."""

    @property
    def is_from_repository(self) -> bool:
        """Whether it comes with the folder that the agent works in. A source that is not known counts as that."""
        return not self.is_managed and self.source not in {"user", "plugin", "sessionFlags"}

    def __str__(self) -> str:
        """The hook as a person is told of it, on one line and without what a terminal would act on."""
        said = f"{self.event}: {self.command or '(no command)'}  [{self.source_path}]"
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in said)


@dataclass(frozen=True, kw_only=True)
class CodexReport:
    """What codex says of itself before an agent starts."""

    version: str | None = None
    """Its version, or None where it gave no answer at all."""
    hooks: tuple[Hook, ...] | None = None
    """The hooks that would run in the folder, or None where this codex cannot list them."""
    model_upgrades: Mapping[str, str] = field(default_factory=dict)
    """For each model that codex would like to see replaced, the model that it offers instead."""
    problem: str | None = None
    """Why ``hooks`` is None."""
    complaints: tuple[str, ...] = ()
    """What is wrong with the agent's settings or with files of hooks, by codex's words."""

    @property
    def repository_hooks(self) -> tuple[Hook, ...]:
        """The hooks that come with the folder that the agent works in."""
        return tuple(hook for hook in self.hooks or () if hook.is_from_repository)


def ask_codex(host: OnlineHostInterface, *, command: str, codex_home: Path, work_dir: Path) -> CodexReport:
    """Have codex list the hooks that it finds for an agent, and the models that it would replace.

    ``config.toml`` and ``hooks.json`` have to be in place: codex lists what it reads there, and a folder's own hooks
    only once the folder is trusted. Takes 0.1-0.4 s, without network.

    Args:
        host: Where codex is.
        command: The codex to ask, as a shell would run it.
        codex_home: The agent's own.
        work_dir: The folder that the agent works in.
    """
    script = f"export CODEX_HOME={shlex.quote(str(codex_home))}\n{_ask(command, work_dir)}"
    return _run(host, script, command)


def ask_codex_before_consent(host: OnlineHostInterface, *, command: str, work_dir: Path) -> CodexReport:
    """Have codex list the hooks that a folder brings, before anybody has agreed to anything.

    Codex reads the folder as if it were trusted, in a home that exists for this question alone; it runs none of them,
    and nothing is left behind.

    Args:
        host: Where codex and the folder are.
        command: The codex to ask, as a shell would run it.
        work_dir: The folder, or the repository that the agent's own worktree will be of: both have the same hooks.
    """
    trust = f'[projects.{json.dumps(str(work_dir), ensure_ascii=False)}]\ntrust_level = "trusted"'
    # Codex may look for the folder by the name that it has without symlinks.
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
{_ask(command, work_dir)}"""
    return _run(host, script, command)


def _ask(command: str, work_dir: Path) -> str:
    """The part of a script that asks codex in ``$CODEX_HOME`` and prints its answers, one a line.

    Codex ends without an answer when its stdin ends, so that has to stay open until the answers are there; and nothing
    is promised on a host but bash. Without a login codex does not ask the network for models, which can take seconds.
    It runs outside of the folder, so that nothing but the list of hooks depends on what the folder says.
    """
    requests = [
        {"id": _INITIALIZE, "method": "initialize", "params": {"clientInfo": {"name": "mngr-codex", "version": "1"}}},
        {"method": "initialized"},
        {"id": _MODELS, "method": "model/list", "params": {"includeHidden": True, "limit": 1000}},
        {"id": _HOOKS, "method": "hooks/list", "params": {"cwds": [str(work_dir)]}},
    ]
    lines = " ".join(shlex.quote(json.dumps(request, separators=(",", ":"))) for request in requests)
    return f"""\
# With it codex shows where it was, and not what was wrong.
unset RUST_BACKTRACE
trap '' PIPE
trap 'rm -rf "${{pipes-}}" "${{scratch-}}"' EXIT
pipes=$(mktemp -d) && mkfifo "$pipes/in" "$pipes/out" && cd "$CODEX_HOME" || exit 1
{for_subcommand(command)} -c cli_auth_credentials_store=ephemeral app-server <"$pipes/in" >"$pipes/out" 2>"$pipes/err" &
codex=$!
exec 3>"$pipes/in" 4<"$pipes/out"
printf '%s\\n' {lines} >&3
left=3 end=$((SECONDS + {ANSWER_SECONDS}))
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
    report = parse_answers(result.stdout)
    if report.hooks is None and report.problem is None:
        said = "; ".join(line.strip() for line in result.stderr.splitlines() if line.strip())
        problem = f"`{command} app-server` did not list its hooks" + (f": {said}" if said else "")
        return CodexReport(version=report.version, model_upgrades=report.model_upgrades, problem=problem)
    return report


def parse_answers(answers: str) -> CodexReport:
    """Read what codex's app-server answered.

    Args:
        answers: Its answers, one JSON object a line, in any order. Lines that are none are passed over.
    """
    version, hooks, upgrades, problem = None, None, {}, None
    complaints: list[str] = []
    for line in answers.split("\n"):
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        if not isinstance(answer, dict):
            continue
        result = answer.get("result")
        if answer.get("id") == _HOOKS and "error" in answer:
            problem = f"codex cannot list its hooks: {_text(answer['error'], 'message').partition(',')[0]}"
        if not isinstance(result, dict):
            continue
        if answer.get("id") == _INITIALIZE:
            # "mngr-codex/0.163.0 (Debian 12.0.0; x86_64) xterm (mngr-codex; 1)"
            found = re.match(r"[^/]*/(\S+)", _text(result, "userAgent"))
            version = found.group(1) if found else None
        elif answer.get("id") == _HOOKS:
            listed = [hook for folder in _list(result, "data") for hook in _list(folder, "hooks")]
            for folder in _list(result, "data"):
                complaints += [_text(error, "message") for error in _list(folder, "errors")]
                complaints += [warning for warning in _list(folder, "warnings") if isinstance(warning, str)]
            if all(_text(hook, "key") and _text(hook, "currentHash") for hook in listed):
                hooks = tuple(_hook(hook) for hook in listed)
            else:
                problem = "codex lists its hooks without hashes"  # seen on 0.128
        elif answer.get("id") == _MODELS:
            upgrades = {
                _text(model, "model"): _text(model, "upgrade")
                for model in _list(result, "data")
                if _text(model, "model") and _text(model, "upgrade")
            }
    return CodexReport(
        version=version,
        hooks=hooks,
        model_upgrades=upgrades,
        problem=problem,
        complaints=tuple(filter(None, complaints)),
    )


def _hook(listed: Any) -> Hook:
    return Hook(
        key=_text(listed, "key"),
        event=_text(listed, "eventName"),
        command=_text(listed, "command"),
        source=_text(listed, "source"),
        source_path=_text(listed, "sourcePath"),
        current_hash=_text(listed, "currentHash"),
        is_managed=listed.get("isManaged") is True,
    )


def _text(holder: Any, key: str) -> str:
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, str) else ""


def _list(holder: Any, key: str) -> list[Any]:
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, list) else []


@dataclass(frozen=True, kw_only=True)
class HookTrust:
    """Which of an agent's hooks run."""

    state: Mapping[str, Mapping[str, str | bool]] = field(default_factory=dict)
    """What belongs under ``hooks.state`` of the agent's ``config.toml``."""
    trusted: tuple[Hook, ...] = ()
    """Those of the repository and of the user that run."""
    switched_off: tuple[Hook, ...] = ()
    """Those of the repository and of the user that do not run."""
    problem: str | None = None
    """Why the plugin's own hooks could not be trusted by hash. Without them it is not known whether the agent works, so
    codex then has to run hooks without review, if the user agrees to that."""

    @property
    def notice(self) -> str | None:
        """What the user is to know of hooks that do not run, or None."""
        if not self.switched_off:
            return None
        lines = [f"  {hook}" for hook in self.switched_off]
        ways = []
        if any(hook.is_from_repository for hook in self.switched_off):
            ways.append("set trust_repo_hooks = true for the agent type, to let those of the repository run")
        if not all(hook.is_from_repository for hook in self.switched_off):
            ways.append("trust your own once in a codex outside of mngr, and create the agent anew")
        return "\n".join(["These hooks are switched off for this agent:", *lines, f"To change it: {'; '.join(ways)}."])


def decide(
    report: CodexReport,
    *,
    own_commands: Collection[str],
    codex_home: Path | str,
    trusts_repository: bool = False,
    consented_hashes: Collection[str] = (),
    user_hashes: Collection[str] = (),
) -> HookTrust:
    """Decide for each hook that codex has listed whether it runs. Whatever is not trusted is switched off.

    Args:
        report: What codex listed.
        own_commands: The commands of the plugin's own hooks; empty if there are none.
        codex_home: The agent's own, which its ``hooks.json`` stands in.
        trusts_repository: Whether hooks that the repository brings run without having been asked for one by one.
        consented_hashes: Hashes of those of the repository's hooks that the user has agreed to.
        user_hashes: Hashes that the user has trusted in their own codex, for what they have set up themselves.
    """
    if report.hooks is None:
        return HookTrust(problem=report.problem or "codex did not list its hooks")
    state: dict[str, Mapping[str, str | bool]] = {}
    trusted: list[Hook] = []
    switched_off: list[Hook] = []
    own_events: set[str] = set()
    for hook in report.hooks:
        if hook.is_managed:
            continue
        path = PurePosixPath(hook.source_path)
        # By its folder's name alone: codex writes the path without symlinks.
        is_at_home = hook.source == "user" and path.parent.name == PurePosixPath(codex_home).name
        is_own = is_at_home and path.name == "hooks.json" and hook.command in own_commands
        if is_own:
            own_events.add(hook.event)
            runs = True
        elif hook.is_from_repository:
            runs = trusts_repository or hook.current_hash in consented_hashes
        else:
            # Hooks in the home's config.toml come from config_overrides: whoever set them wants them.
            runs = hook.current_hash in user_hashes or (is_at_home and path.name == "config.toml")
        state[hook.key] = {"trusted_hash": hook.current_hash} | ({} if runs else {"enabled": False})
        if not is_own:
            (trusted if runs else switched_off).append(hook)
    missing = _NEEDED_EVENTS - own_events if own_commands else frozenset()
    problem = None
    if missing:
        why = f" ({'; '.join(report.complaints)})" if report.complaints else ""
        problem = f"codex did not list mngr's own hooks for {', '.join(sorted(missing))}{why}"
    return HookTrust(state=state, trusted=tuple(trusted), switched_off=tuple(switched_off), problem=problem)


def trusted_hashes(user_config: Mapping[str, Any]) -> frozenset[str]:
    """Give the hashes of the hooks that the user lets run in their own codex.

    Args:
        user_config: What is in the user's own ``config.toml``.
    """
    hooks = user_config.get("hooks")
    state = hooks.get("state") if isinstance(hooks, dict) else None
    entries: Iterable[Any] = state.values() if isinstance(state, dict) else ()
    return frozenset(
        _text(entry, "trusted_hash")
        for entry in entries
        if _text(entry, "trusted_hash") and entry.get("enabled") is not False
    )
