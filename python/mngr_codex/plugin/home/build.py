"""Builds an agent's ``CODEX_HOME``: its directory, its settings, its hooks and their trust.

Every agent has a separate home, so that it cannot change ``~/.codex``, which is only read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.carry import delivery
from mngr_codex.plugin.carry.login import Kind, copied_notice
from mngr_codex.plugin.carry.settings import copied_setup_texts
from mngr_codex.plugin.home import account_models, config_toml, hook_trust, hooks_json, login
from mngr_codex.plugin.home.app_server import query_codex
from mngr_codex.plugin.home.config_toml import merge, render
from mngr_codex.plugin.home.files import read_text, write_private
from mngr_codex.plugin.home.model_upgrades import cached_upgrades
from mngr_codex.plugin.home.user_files import create_directory
from mngr_codex.plugin.host.files import last_line, write_and_run

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.carry.plan import Carrying
    from mngr_codex.plugin.carry.settings import Setup
    from mngr_codex.plugin.home.app_server import CodexReport
    from mngr_codex.plugin.home.user_files import CodexHomeDirectory

_COPY_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class CodexHomeRequest:
    """What an agent's ``CODEX_HOME`` is built from."""

    agent_name: str = "NAME"
    """The agent's name, for notices."""
    codex_home: Path
    """The path of the home."""
    work_dir: Path
    """The agent's work directory, which the home will trust. The user must have consented to that."""
    program: Path | None
    """The path of the native program on the host, which the hooks call; None if this host has none."""
    command: str
    """The ``command`` setting, as a shell would run it."""
    settings: Mapping[str, Any]
    """The agent's settings by the names that Codex gives them."""
    overrides: Mapping[str, Any]
    """The agent's ``config_overrides``."""
    instructions: tuple[str, ...] = ()
    """Texts that are appended to the user's ``developer_instructions``."""
    carries_user_config: bool = True
    """Whether the agent gets the user's settings, hooks and files from ``~/.codex``."""
    trusts_repository_hooks: bool = False
    """Whether all hooks of the repository run."""
    consented_hashes: Collection[str] = ()
    """The hashes of the repository's hooks that the user has consented to."""
    allows_bypass: bool = False
    """Whether all hooks run without review if this Codex cannot report their hashes. Otherwise none runs then."""
    falls_back_to_default_model: bool = False
    """Whether the agent uses the account's default model if the account does not offer the configured one."""
    user_codex_home: Path | None = None
    """The user's own ``CODEX_HOME`` if it is not ``~/.codex``."""
    carrying: Carrying | None = None
    """What may be copied from this machine to the agent's host; None for this machine itself."""


@dataclass(frozen=True, kw_only=True)
class CodexHome:
    """An agent's ``CODEX_HOME`` after it was built."""

    notices: tuple[str, ...]
    """Warnings for the user."""
    reports: tuple[str, ...] = ()
    """What else the user should know."""
    trust: hook_trust.HookTrust
    """Which hooks run."""
    needs_bypass: bool
    """Whether Codex must run with ``--dangerously-bypass-hook-trust``, which the user has consented to."""
    has_live_state: bool
    """Whether the plugin's own hooks run. Without them mngr cannot show whether the agent is busy."""
    codex_version: str | None
    """The version of Codex, if it reported one."""


@dataclass(frozen=True, kw_only=True)
class _UserSetup:
    """What the agent gets of the user's own setup."""

    config: Mapping[str, Any]
    folder: str
    """The folder that paths in the settings are relative to."""
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hooks: tuple[Mapping[str, Any], ...] = ()
    notices: tuple[str, ...] = ()


def build(host: OnlineHostInterface, request: CodexHomeRequest) -> CodexHome:
    """Builds an agent's ``CODEX_HOME`` on its host.

    Must not be called while the agent's Codex runs: Codex stops running hooks if their file changes.

    Raises:
        ConfigParseError: An override is refused, or the user's ``config.toml`` cannot be read.
        MngrError: The home cannot be created.
    """
    config_toml.check_overrides(request.overrides)
    directory = create_directory(
        host,
        request.codex_home,
        work_dir=request.work_dir,
        user_codex_home=request.user_codex_home,
        carries_user_files=request.carries_user_config,
        script_before=delivery.preparing_script(request.codex_home) if request.carrying else "",
    )
    setup = request.carrying.setup(delivery.owned_entries(directory.lines)) if request.carrying else None
    user = _user_setup(host, request, directory, setup)
    carried = _carry(host, request, directory, setup, needs_login=login.needs_login(_config(request, directory, user)))
    notices = [*user.notices, *carried.notices]
    for name, profile in user.profiles.items():
        # Codex merges a profile into config.toml, so the profile must not override the pins either.
        kept = config_toml.carried_over(profile, user.folder)
        write_private(host, request.codex_home / name, render(merge(kept, config_toml.PINS)))
    hooks = hooks_json.build_hooks(request.program, *user.hooks)
    write_private(host, request.codex_home / "hooks.json", json.dumps(hooks, indent=2) + "\n")
    # Codex reports a hook's hash only after the hook is in place, and a repository's hooks only after the directory is
    # trusted.
    draft = render(_config(request, directory, user))
    write_private(host, request.codex_home / "config.toml", draft)
    report = query_codex(host, command=request.command, codex_home=request.codex_home, work_dir=request.work_dir)
    trust = hook_trust.decide(
        report,
        own_commands=hooks_json.own_commands(request.program) if request.program else (),
        codex_home=request.codex_home,
        trusts_repository=request.trusts_repository_hooks,
        consented_hashes=request.consented_hashes,
        user_hashes=hook_trust.trusted_hashes(user.config),
    )
    # The list that the server last sent to the user's Codex is newer than the list that Codex was built with.
    cache = read_text(host, f"{directory.user_codex_home}/models_cache.json")
    upgrades = {**report.model_upgrades, **cached_upgrades(cache)}
    config = _config(request, directory, user, upgrades=upgrades, hook_state=trust.state)
    cannot_list_hooks = report.hooks is None
    if cannot_list_hooks:
        # A Codex without hashes may know hooks only by their older name (0.128). If they are not disabled, it opens on
        # "Hooks need review".
        allowed = request.allows_bypass
        config = merge(config, {"features": {"hooks": allowed, "codex_hooks": allowed}})
    write_private(host, request.codex_home / "config.toml", render(config))
    refused = config_toml.refused_setting(report.diagnostics, request.codex_home / "config.toml", draft)
    if refused is None:
        chosen = account_models.choose(
            host,
            config,
            command=request.command,
            codex_home=request.codex_home,
            has_account=directory.has_account or carried.has_account,
            cache=cache,
            falls_back=request.falls_back_to_default_model,
        )
        if chosen.notice:
            notices.append(chosen.notice)
        if chosen.replacement:
            config = merge(config, {"model": chosen.replacement})
            write_private(host, request.codex_home / "config.toml", render(config))
    runs_hooks = trust.problem is None or (cannot_list_hooks and request.allows_bypass)
    if refused is not None:
        notices.append(_refusal_notice(request, directory, refused))
    elif not runs_hooks:
        notices.append(_missing_hooks_notice(report, trust))
    if not (directory.is_logged_in or carried.is_logged_in) and login.needs_login(config):
        notices.append(
            login.login_notice(
                login.LoginPlace.of(host),
                {} if setup and setup.has_settings else user.config,
                directory.user_codex_home,
                agent_name=request.agent_name,
                not_copied=carried.missing_login,
            )
        )
    if trust.notice:
        notices.append(trust.notice)
    return CodexHome(
        notices=tuple(notices),
        reports=carried.reports,
        trust=trust,
        needs_bypass=cannot_list_hooks and request.allows_bypass and _knows_bypass(host, request.command),
        has_live_state=runs_hooks and request.program is not None,
        codex_version=report.version,
    )


def _user_setup(
    host: OnlineHostInterface, request: CodexHomeRequest, directory: CodexHomeDirectory, setup: Setup | None
) -> _UserSetup:
    """Returns the setup of the user on the agent's host, or that of this machine if there is none."""
    if not request.carries_user_config:
        return _UserSetup(config={}, folder=directory.user_codex_home)
    if setup and setup.has_settings:
        folder = str(request.codex_home / delivery.FOLDER)
        hooks, notices = _checked_hooks(setup.hooks, setup.config)
        return _UserSetup(config=setup.config, folder=folder, profiles=setup.profiles, hooks=hooks, notices=notices)
    config = config_toml.read_config(host, f"{directory.user_codex_home}/config.toml")
    hooks_in_file, problem = hooks_json.read_hooks(host, f"{directory.user_codex_home}/hooks.json")
    hooks, notices = _checked_hooks(hooks_in_file, config)
    profiles, skipped = _read_profiles(host, directory)
    return _UserSetup(
        config=config,
        folder=directory.user_codex_home,
        profiles=profiles,
        hooks=hooks,
        notices=(*([problem] if problem else []), *notices, *skipped),
    )


def _checked_hooks(
    hooks_in_file: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """Returns the user's hooks that Codex can read, and notices about the others."""
    notices = []
    # Codex warns about hooks in both files, so those in config.toml move to the agent's hooks.json as well.
    hooks_in_config = config.get("hooks")
    hooks = []
    for each in (hooks_in_file, hooks_in_config if isinstance(hooks_in_config, dict) else {}):
        readable, skipped = hooks_json.checked_hooks(each)
        hooks.append(readable)
        if skipped:
            notices.append(f"some of your hooks are not used, because Codex cannot read them: {', '.join(skipped)}")
    return tuple(hooks), tuple(notices)


def _read_profiles(
    host: OnlineHostInterface, directory: CodexHomeDirectory
) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """Returns the user's profiles by the names of their files, and notices about unreadable ones."""
    from imbue.mngr.errors import ConfigParseError

    profiles: dict[str, Mapping[str, Any]] = {}
    notices = []
    for name in directory.profiles:
        try:
            profiles[name] = config_toml.read_config(host, f"{directory.user_codex_home}/{name}")
        except ConfigParseError as error:
            notices.append(f"one of your profiles is not used: {error}")
    return profiles, notices


@dataclass(frozen=True, kw_only=True)
class _Carried:
    """What was copied from this machine."""

    is_logged_in: bool = False
    has_account: bool = False
    missing_login: str = ""
    """Why no login was copied."""
    reports: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def _carry(
    host: OnlineHostInterface,
    request: CodexHomeRequest,
    directory: CodexHomeDirectory,
    setup: Setup | None,
    *,
    needs_login: bool,
) -> _Carried:
    """Copies the setup of this machine to the agent's host, and the login if Codex needs one there."""
    if request.carrying is None:
        return _Carried()
    place = login.LoginPlace.of(host)
    reports, notices = copied_setup_texts(setup, place)
    decision = request.carrying.decide_login() if needs_login and not directory.is_logged_in else None
    copied = decision.login if decision else None
    uses_tar = delivery.has_tar(directory.lines)
    files = delivery.files(setup, copied, request.codex_home, uses_tar=uses_tar)
    outcome = None
    if files:
        script = delivery.script(
            setup, copied, codex_home=request.codex_home, user_codex_home=directory.user_codex_home
        )
        result = write_and_run(host, files, script, timeout_seconds=_COPY_SECONDS)
        if result.status != 0:
            notices = (*notices, f"your Codex setup could not be copied{place.there}: {last_line(result)}")
        outcome = delivery.is_login_copied(result.stdout.decode(errors="replace").splitlines())
    if decision is None:
        return _Carried(reports=reports, notices=notices)
    if copied is None:
        missing = f" The login of this machine was not copied: {decision.reason}{decision.hint}"
        return _Carried(missing_login=missing, reports=reports, notices=notices)
    if outcome is None:
        missing = f" The login of this machine could not be copied to {directory.user_codex_home}"
        return _Carried(missing_login=missing, reports=reports, notices=notices)
    if outcome:
        text, is_warning = copied_notice(copied, place, directory.user_codex_home)
        reports, notices = (reports, (*notices, text)) if is_warning else ((*reports, text), notices)
    return _Carried(
        is_logged_in=True, has_account=copied.kind is Kind.RENEWED and outcome, reports=reports, notices=notices
    )


def _config(
    request: CodexHomeRequest,
    directory: CodexHomeDirectory,
    user: _UserSetup,
    *,
    upgrades: Mapping[str, str] | None = None,
    hook_state: Mapping[str, Any] | None = None,
) -> config_toml.Table:
    return config_toml.build_config(
        user_config=config_toml.carried_over(user.config, user.folder),
        settings=request.settings,
        instructions=request.instructions,
        overrides=request.overrides,
        trusted_paths={str(request.work_dir), directory.work_dir},
        model_upgrades=upgrades,
        hook_state=hook_state,
    )


def _refusal_notice(request: CodexHomeRequest, directory: CodexHomeDirectory, refused: str) -> str:
    sources = [f"{directory.user_codex_home}/config.toml"] if request.carries_user_config else []
    sources.append("config_overrides and the other settings of the agent type")
    return f"Codex does not start with these settings: {refused}\nhint: check {', and '.join(sources)}"


def _missing_hooks_notice(report: CodexReport, trust: hook_trust.HookTrust) -> str:
    if report.version is None:
        hint = "fix that and recreate the agent, or use a newer Codex if this one is too old"
    elif report.hooks is None:
        hint = "use a newer Codex, or set trust_repo_hooks = true to run all hooks without review"
    elif report.diagnostics:
        hint = "fix that and recreate the agent"
    else:
        hint = "check whether an administrator allows only managed hooks"
    return (
        f"this agent runs without mngr's hooks, so it shows as WAITING even while it is busy: {trust.problem}\n"
        f"hint: {hint}"
    )


def _knows_bypass(host: OnlineHostInterface, command: str) -> bool:
    """Returns whether Codex has the flag. Older versions (0.128) reject unknown flags, and run all hooks anyway."""
    script = f"export CODEX_HOME=/dev/null; {command} --help 2>/dev/null | grep -q -e {hook_trust.BYPASS}"
    result = host.execute_idempotent_command(script, timeout_seconds=30.0)
    return result.success
