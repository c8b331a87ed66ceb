"""What stands in an agent's own ``CODEX_HOME``: its config, its hooks, its login, and what the user has set up.

Every agent has a home of its own, so that nothing it does changes ``~/.codex``, which is only read. What codex writes
to is copied from there (settings, profiles, rules), what it only reads is linked (``AGENTS.md``, ``.env``, prompts,
skills, agent roles, themes), so that a change by the user reaches agents that exist. The login is a link as well: codex
writes through it, and a later ``codex login`` counts for all agents.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.home import hook_trust

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

Table = dict[str, Any]

HOOKS = {
    "SessionStart": "session-start",
    "SessionEnd": "session-end",
    "UserPromptSubmit": "user-prompt-submit",
    "PreModelRequest": "pre-model-request",
    "PreToolUse": "pre-tool-use",
    "PermissionRequest": "permission-request",
    "PostToolUse": "post-tool-use",
    "SubagentStart": "subagent-start",
    "SubagentStop": "subagent-stop",
    "Stop": "stop",
    "Interrupt": "interrupt",
}
"""The events that the program is told of, by codex's name and by the program's. Codex passes over one that it does not
know."""

HOOK_SECONDS = 60
"""How long codex lets one of the hooks run. It takes milliseconds; codex's own limit is ten minutes."""

# More than codex grants it would complain of to the user (0.163).
_MOST_SECONDS = {"SessionEnd": 3, "Interrupt": 3}

DEFAULTS: Mapping[str, Any] = {"sandbox_mode": "workspace-write"}
"""What an agent's codex is set to where nobody says anything else."""

PINS: Mapping[str, Any] = {
    # A keyring's entry is named after the home, so an agent would not find the user's.
    "cli_auth_credentials_store": "file",
    # The offer of an update takes the keys that are meant for the message.
    "check_for_update_on_startup": False,
    "features": {
        "hooks": True,
        # Seen on 0.163 and 0.169: the TUI starts a server that runs the turns, outlives the TUI, updates itself and
        # copies codex (300 MB) into the home.
        "daemon_auto_start": False,
    },
    "notice": {
        "hide_full_access_warning": True,
        "hide_world_writable_warning": True,
        "hide_rate_limit_model_nudge": True,
    },
    "tui": {
        # Codex would ask where to go on, if a session was begun in another folder.
        "resume_cwd": "current",
        # Else codex writes this itself, into a file that is ours.
        "screen_reader_detection_done": True,
    },
}
"""What an agent's codex has to be set to. Wins over the user's own settings."""

_NO_STATE = "without hooks it is not known whether the agent works"
_REFUSED = {
    ("cli_auth_credentials_store",): ("file", "agents share the login by a link to auth.json, a file"),
    ("check_for_update_on_startup",): (False, "codex's offer of an update would swallow the first message"),
    ("features", "hooks"): (True, _NO_STATE),
    ("features", "codex_hooks"): (True, _NO_STATE),
    ("features", "daemon_auto_start"): (False, "turns would run in a server that outlives the agent"),
    ("hooks", "state"): (None, "hooks are trusted by their hashes; trust_repo_hooks lets a repository's run"),
}
"""What ``config_overrides`` may not say, with the one value that is allowed."""

_OF_THE_USER_ALONE = ("projects", "sqlite_home", "log_dir", "hooks")
"""What is not carried over: whom the user trusts is asked for each agent's folder anew, where the user's own codex
keeps its data is no place for an agent's, and hooks go to the agent's ``hooks.json``."""

_PATHS = frozenset(
    {
        "model_instructions_file",
        "experimental_instructions_file",
        "experimental_compact_prompt_file",
        "model_catalog_json",
        "config_file",
        "ca-certificate",
        "client-certificate",
        "client-private-key",
    }
)
"""Settings with a path that codex looks up from the folder of ``config.toml``."""


@dataclass(frozen=True, kw_only=True)
class ProvisionedHome:
    """An agent's ``CODEX_HOME`` as it was made."""

    notices: tuple[str, ...]
    """What the user is to know."""
    trust: hook_trust.HookTrust
    """Which hooks run."""
    needs_bypass: bool
    """Whether codex has to run with ``--dangerously-bypass-hook-trust``, to which the user has agreed."""
    has_live_state: bool
    """Whether the plugin's own hooks run, without which it is not known whether the agent works."""
    codex_version: str | None
    """The version of codex, where it said so."""


def provision(
    host: OnlineHostInterface,
    *,
    codex_home: Path,
    work_dir: Path,
    program: Path | None,
    command: str,
    settings: Mapping[str, Any],
    overrides: Mapping[str, Any],
    carries_user_config: bool = True,
    trusts_repository: bool = False,
    consented_hashes: Collection[str] = (),
    allows_bypass: bool = False,
    user_codex_home: Path | None = None,
) -> ProvisionedHome:
    """Make an agent's ``CODEX_HOME`` on its host.

    The agent's work dir is set down as trusted, so this comes after consent. Must not run while the agent's codex does:
    codex stops running hooks when their file changes.

    Args:
        host: The agent's host.
        codex_home: Where the home is to be.
        work_dir: The folder that the agent works in.
        program: Where the native program is on the host; the hooks call it. None if there is none for this host.
        command: The agent's codex, as a shell would run it.
        settings: What the agent's settings come to, by codex's own names.
        overrides: ``config_overrides`` of the agent's settings.
        carries_user_config: Whether what the user has set up in ``~/.codex`` counts for the agent too.
        trusts_repository: Whether hooks that the repository brings run without having been agreed to one by one.
        consented_hashes: Hashes of those of the repository's hooks that the user has agreed to.
        allows_bypass: Whether hooks may run without review, if this codex cannot report their hashes. If not, none
            runs.
        user_codex_home: The user's own, if it is not ``~/.codex``.

    Raises:
        ConfigParseError: An override is refused, or the user's own ``config.toml`` cannot be read.
        MngrError: The home cannot be made.
    """
    from imbue.mngr.errors import ConfigParseError

    check_overrides(overrides)
    made = _make(host, codex_home, user_codex_home, work_dir, carries_user_config)
    user_config: Table = {}
    user_hooks: list[Mapping[str, Any]] = []
    notices: list[str] = []
    if carries_user_config:
        user_config = read_config(host, made.user_codex_home + "/config.toml")
        brought, problem = read_hooks(host, made.user_codex_home + "/hooks.json")
        notices += [problem] if problem else []
        # Codex warns of hooks in two places, and takes those in config.toml for the same hooks.
        in_config = user_config.get("hooks")
        for each in (brought, in_config if isinstance(in_config, dict) else {}):
            well_formed, skipped = checked_hooks(each)
            user_hooks.append(well_formed)
            if skipped:
                notices.append(f"Hooks of yours are left out, because codex could not read them: {', '.join(skipped)}")
        for name in made.profiles:
            try:
                profile = carried(read_config(host, f"{made.user_codex_home}/{name}"), made.user_codex_home)
            except ConfigParseError as error:
                notices.append(f"This profile of yours is left out: {error}")
                continue
            # A profile is laid over config.toml, and may not take away what the agent needs either.
            _write(host, codex_home / name, render(merge(profile, PINS)))
    _write(host, codex_home / "hooks.json", json.dumps(hooks(program, *user_hooks), indent=2) + "\n")

    def config(state: Mapping[str, Any], upgrades: Mapping[str, str]) -> Table:
        return build_config(
            user_config=carried(user_config, made.user_codex_home),
            settings=settings,
            overrides=overrides,
            trusted_paths={str(work_dir), made.work_dir},
            model_upgrades=upgrades,
            hook_state=state,
        )

    # Codex names a hook's hash once it finds the hook, and the repository's once the folder is trusted.
    asked = render(config({}, {}))
    _write(host, codex_home / "config.toml", asked)
    report = hook_trust.ask_codex(host, command=command, codex_home=codex_home, work_dir=work_dir)
    refused = refused_setting(report.complaints, codex_home / "config.toml", asked)
    trust = hook_trust.decide(
        report,
        own_commands=own_commands(program) if program else (),
        codex_home=codex_home,
        trusts_repository=trusts_repository,
        consented_hashes=consented_hashes,
        user_hashes=hook_trust.trusted_hashes(user_config),
    )
    # What the user's codex was last told by its server is newer than what codex was built with.
    upgrades = {**report.model_upgrades, **cached_upgrades(_read(host, made.user_codex_home + "/models_cache.json"))}
    final = config(trust.state, upgrades)
    is_unable = report.hooks is None
    runs_hooks = trust.problem is None or (is_unable and allows_bypass)
    if is_unable:
        # A codex that knows no hashes may also know hooks by the older name alone (0.128). Switched off, they keep it
        # from opening on "Hooks need review".
        final = merge(final, {"features": {"hooks": allows_bypass, "codex_hooks": allows_bypass}})
    if refused is not None:
        sources = [f"{made.user_codex_home}/config.toml"] if carries_user_config else []
        sources.append("config_overrides and the other settings of the agent type")
        notices.append(f"Codex does not start with these settings: {refused}. Look in {', and in '.join(sources)}.")
    elif not runs_hooks:
        if report.version is None:
            way_out = "Put that right and make the agent anew, or use a newer codex where this one is too old for that."
        elif is_unable:
            way_out = (
                "A newer codex puts that right; with trust_repo_hooks = true this one runs all hooks without review."
            )
        elif report.complaints:
            way_out = "Put that right, and make the agent anew."
        else:
            way_out = "Where an administrator allows managed hooks alone, that is why."
        notices.append(
            f"This agent runs without mngr's hooks, so it shows as WAITING while it works: {trust.problem}. {way_out}"
        )
    _write(host, codex_home / "config.toml", render(final))
    if not made.is_logged_in and needs_login(final):
        notices.append(login_notice(user_config, made.user_codex_home))
    if trust.notice:
        notices.append(trust.notice)
    return ProvisionedHome(
        notices=tuple(notices),
        trust=trust,
        needs_bypass=is_unable and allows_bypass and _knows_bypass(host, command),
        has_live_state=runs_hooks and program is not None,
        codex_version=report.version,
    )


def refused_setting(complaints: Iterable[str], config_path: Path, config: str) -> str | None:
    """Give which setting of an agent's ``config.toml`` codex does not take, and why; None if it takes all.

    Args:
        complaints: What codex complained of (``<path>:<line>:<column>: <why>``, seen on 0.138 to 0.169).
        config_path: Where the file is.
        config: What is in it.
    """
    place = re.compile(rf"{re.escape(str(config_path))}:(\d+):\d+: (.+)", re.DOTALL)
    for complaint in complaints:
        if found := place.search(complaint):
            (line,) = config.split("\n")[: int(found[1])][-1:]
            # What is set may be a secret.
            name, is_setting, _ = line.partition("=")
            told = f"`{name.strip()}`: " if is_setting or line.startswith("[") else ""
            return told + found[2].strip()
    return None


# -- config.toml


def build_config(
    *,
    user_config: Mapping[str, Any],
    settings: Mapping[str, Any],
    overrides: Mapping[str, Any],
    trusted_paths: Iterable[str] = (),
    model_upgrades: Mapping[str, str] | None = None,
    hook_state: Mapping[str, Any] | None = None,
) -> Table:
    """Put an agent's ``config.toml`` together.

    What comes later wins, table by table: defaults, user, pins, settings, overrides.

    Args:
        user_config: What is carried over from the user's own.
        settings: What the agent's settings come to, by codex's own names.
        overrides: ``config_overrides`` of the agent's settings; a key that is null there is left out.
        trusted_paths: The names of the agent's work dir.
        model_upgrades: For models that codex would like to see replaced, the ones that it offers: set down as seen, so
            that it does not ask ("Meet GPT-6 Sol").
        hook_state: The trust in hooks, by their keys.
    """
    config = merge(merge(DEFAULTS, user_config), PINS)
    config = merge(config, {"notice": {"model_migrations": dict(model_upgrades or {})}})
    config = merge(config, {"projects": {path: {"trust_level": "trusted"} for path in sorted(trusted_paths)}})
    config = merge(config, settings)
    config = merge(config, overrides)
    return merge(config, {"hooks": {"state": dict(hook_state or {})}}) if hook_state else config


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    """Lay one table over another: tables are merged, anything else is replaced, and None takes a key away."""
    merged = dict(below)
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            under = merged.get(key)
            merged[key] = merge(under if isinstance(under, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Refuse overrides that would break the agent.

    Raises:
        ConfigParseError: With the setting, why it is refused, and what is allowed.
    """
    for path, (allowed, why) in _REFUSED.items():
        value: Any = overrides
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None and value != allowed:
            from imbue.mngr.errors import ConfigParseError

            instead = "" if allowed is None else f" Allowed is only {json.dumps(allowed)}."
            raise ConfigParseError(f"config_overrides of a codex agent may not set {'.'.join(path)}: {why}.{instead}")


def carried(user_config: Mapping[str, Any], user_codex_home: str) -> Table:
    """Give what of the user's own settings counts for an agent.

    Args:
        user_config: What is in the user's ``config.toml``, or in a profile's.
        user_codex_home: The folder that it is in, from which codex looks up its relative paths.
    """
    kept = {key: value for key, value in user_config.items() if key not in _OF_THE_USER_ALONE}
    rooted = _rooted(kept, user_codex_home)
    return rooted if isinstance(rooted, dict) else {}


def _rooted(value: Any, folder: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _rooted(part, folder, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_rooted(part, folder, key) for part in value]
    if key in _PATHS and isinstance(value, str) and value and not value.startswith(("/", "~")):
        return f"{folder}/{value}"
    return value


def render(config: Mapping[str, Any]) -> str:
    """Write a table down as TOML."""
    import tomlkit

    return tomlkit.dumps(_ordered(config))


def _ordered(table: Mapping[str, Any]) -> Table:
    """Tables behind plain values: what stands behind a table's head belongs to that table."""

    def is_table(value: Any) -> bool:
        return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(part, dict) for part in value))

    def ordered(value: Any) -> Any:
        if isinstance(value, dict):
            return _ordered(value)
        return [ordered(part) for part in value] if isinstance(value, list) else value

    return {key: ordered(value) for key, value in sorted(table.items(), key=lambda entry: is_table(entry[1]))}


def cached_upgrades(models: str | None) -> dict[str, str]:
    """Read from codex's cache of the models that its server told it of which it would replace by which.

    Args:
        models: What is in ``models_cache.json``, if there is one.
    """
    try:
        listed = json.loads(models or "null")
    except ValueError:
        return {}
    upgrades = {}
    models_listed = listed.get("models") if isinstance(listed, dict) else None
    for model in models_listed if isinstance(models_listed, list) else ():
        upgrade = model.get("upgrade") if isinstance(model, dict) else None
        instead = upgrade.get("model") if isinstance(upgrade, dict) else None
        if isinstance(instead, str) and isinstance(model.get("slug"), str):
            upgrades[model["slug"]] = instead
    return upgrades


# -- hooks.json


def own_commands(program: Path) -> tuple[str, ...]:
    """Give the commands of the plugin's own hooks.

    Args:
        program: Where the native program is on the agent's host.
    """
    return tuple(f"{shlex.quote(str(program))} hook {event}" for event in HOOKS.values())


def hooks(program: Path | None, *user_hooks: Mapping[str, Any]) -> Table:
    """Put an agent's ``hooks.json`` together: the plugin's own hooks, then the user's.

    Args:
        program: Where the native program is on the agent's host; without it there are only the user's.
        user_hooks: What is under ``hooks`` of the user's own ``hooks.json`` and ``config.toml``.
    """
    groups: dict[str, list[Any]] = {}
    if program is not None:
        for event, command in zip(HOOKS, own_commands(program), strict=True):
            seconds = _MOST_SECONDS.get(event, HOOK_SECONDS)
            groups[event] = [{"hooks": [{"type": "command", "command": command, "timeout": seconds}]}]
    for event, brought in ((event, brought) for hooks in user_hooks for event, brought in hooks.items()):
        if isinstance(brought, list):
            groups[event] = groups.get(event, []) + brought
    return {"hooks": groups}


def checked_hooks(brought: Mapping[str, Any]) -> tuple[Table, list[str]]:
    """Tell the groups of hooks that codex can read from the rest: one that it cannot costs it all of them.

    Args:
        brought: What is under ``hooks`` of a file of the user's.

    Returns:
        The groups that are as they should be, by their events, and the events of those that are not.
    """

    def is_readable(group: Any) -> bool:
        if not isinstance(group, dict) or not isinstance(group.get("matcher"), str | None):
            return False
        commands = group.get("hooks")
        return isinstance(commands, list) and all(
            isinstance(each, dict) and isinstance(each.get("type"), str) for each in commands
        )

    kept: Table = {}
    skipped = []
    for event, groups in brought.items():
        if event == "state":
            continue
        listed = groups if isinstance(groups, list) else [groups]
        kept[event] = [group for group in listed if is_readable(group)]
        if len(kept[event]) < len(listed):
            skipped.append(event)
    return kept, skipped


def read_hooks(host: OnlineHostInterface, path: str) -> tuple[Table, str | None]:
    """Read a ``hooks.json`` of the user's.

    Returns:
        What is under ``hooks``, and what is to be told if the file cannot be read.
    """
    try:
        content = json.loads(_read(host, path) or "{}")
    except (OSError, ValueError) as error:
        return {}, f"Your hooks are left out, because {path} cannot be read: {error}"
    brought = content.get("hooks") if isinstance(content, dict) else None
    return brought if isinstance(brought, dict) else {}, None


# -- login


def needs_login(config: Mapping[str, Any]) -> bool:
    """Whether codex asks for a login with this config: with OpenAI's own models, and where a provider says so.

    Args:
        config: What is in the agent's ``config.toml``.
    """
    provider = config.get("model_provider", "openai")
    providers = config.get("model_providers")
    described = providers.get(provider) if isinstance(providers, dict) else None
    if isinstance(described, dict):
        return described.get("requires_openai_auth") is True
    return bool(provider == "openai")


def login_notice(user_config: Mapping[str, Any], user_codex_home: str) -> str:
    """Tell the user that codex has no login, and what to do about it."""
    said = (
        f"Codex is not logged in: there is no {user_codex_home}/auth.json on the agent's host, so the agent shows "
        "codex's login screen and takes no message. Run `codex login` there; agents started after that use it."
    )
    if user_config.get("cli_auth_credentials_store", "file") != "file":
        said += (
            " Your codex keeps its login in a keyring, which agents cannot share: before, set "
            f'cli_auth_credentials_store = "file" in {user_codex_home}/config.toml.'
        )
    return said


# -- the folder


@dataclass(frozen=True, kw_only=True)
class _Made:
    user_codex_home: str
    work_dir: str
    is_logged_in: bool
    profiles: tuple[str, ...]


def _make(
    host: OnlineHostInterface, codex_home: Path, user_codex_home: Path | None, work_dir: Path, carries: bool
) -> _Made:
    user = shlex.quote(str(user_codex_home)) if user_codex_home else '"$HOME/.codex"'
    script = f"""\
set -e
user={user} home={shlex.quote(str(codex_home))}
mkdir -p "$home"
chmod 700 "$home"
ln -sfn "$user/auth.json" "$home/auth.json"
printf 'user %s\\n' "$user"
work_dir=$(cd {shlex.quote(str(work_dir))} && pwd -P && echo .)
work_dir=${{work_dir%$'\\n'.}}
case $work_dir in *$'\\n'*) ;; *) printf 'work_dir %s\\n' "$work_dir" ;; esac
if [ -s "$user/auth.json" ]; then echo login; fi
""" + (_CARRY_OVER if carries else "")
    result = host.execute_idempotent_command(f"bash -c {shlex.quote(script)}", timeout_seconds=60.0)
    said = [line.split(" ", 1) for line in result.stdout.split("\n")]
    told = {line[0]: line[1] for line in said if len(line) == 2}
    if not result.success or not told.get("user"):
        from imbue.mngr.errors import MngrError

        raise MngrError(f"The agent's CODEX_HOME cannot be made at {codex_home}: {result.stderr.strip()}")
    return _Made(
        user_codex_home=told["user"],
        # A name of several lines is taken as it was given.
        work_dir=told.get("work_dir", str(work_dir)),
        is_logged_in=["login"] in said,
        profiles=tuple(line[1] for line in said if line[0] == "profile"),
    )


# Hidden entries stay behind: skills/.system is codex's own. Rules that codex has added for the agent are kept. The
# tokens of MCP servers (.credentials.json) are linked as the login is: a copy would become void when one of them is
# renewed.
_CARRY_OVER = """\
link() {
    if [ -e "$1" ] && { [ -L "$2" ] || [ ! -e "$2" ]; }; then ln -sfn "$1" "$2"; fi
}
for name in AGENTS.md AGENTS.override.md themes .env .credentials.json; do
    link "$user/$name" "$home/$name"
done
for folder in prompts skills agents; do
    for entry in "$user/$folder"/*; do
        [ -e "$entry" ] || continue
        mkdir -p "$home/$folder"
        link "$entry" "$home/$folder/${entry##*/}"
    done
done
for rules in "$user/rules"/*; do
    [ -e "$rules" ] || continue
    mkdir -p "$home/rules"
    [ -e "$home/rules/${rules##*/}" ] || cp -R "$rules" "$home/rules/"
done
for profile in "$user"/*.config.toml; do
    if [ -f "$profile" ]; then printf 'profile %s\\n' "${profile##*/}"; fi
done
"""


def read_config(host: OnlineHostInterface, path: str) -> Table:
    """Read a ``config.toml`` of the user's.

    Returns:
        What is in it; nothing if there is none.

    Raises:
        ConfigParseError: It cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(_read(host, path) or "")
    except (OSError, ValueError) as error:
        from imbue.mngr.errors import ConfigParseError

        what = "is no TOML" if isinstance(error, tomllib.TOMLDecodeError) else "cannot be read"
        raise ConfigParseError(
            f"{path} {what}: {error}. Put it right, or set use_user_config = false for the agent type."
        ) from None


def _knows_bypass(host: OnlineHostInterface, command: str) -> bool:
    """Whether codex has the flag. One of before it (0.128) refuses what it does not know, and runs all hooks anyway."""
    script = f"export CODEX_HOME=/dev/null; {command} --help 2>/dev/null | grep -q -e {hook_trust.BYPASS}"
    result = host.execute_idempotent_command(script, timeout_seconds=30.0)
    return result.success


def _read(host: OnlineHostInterface, path: str) -> str | None:
    from pathlib import Path

    try:
        # Codex passes over a byte order mark.
        return host.read_text_file(Path(path)).removeprefix("\ufeff")
    except FileNotFoundError:
        return None


def _write(host: OnlineHostInterface, path: Path, text: str) -> None:
    # Settings of a provider can hold a key of the user's.
    host.write_file(path, text.encode(), mode="0600")
