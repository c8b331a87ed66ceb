"""Builds an agent's ``CODEX_HOME``: its directory, its settings, its hooks and their trust.

Every agent has a separate home, so that it cannot change ``~/.codex``, which is only read.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.agent_type import AGENT_TYPE
from mngr_codex.plugin.carry import delivery
from mngr_codex.plugin.carry.login import Kind, copied_notice
from mngr_codex.plugin.carry.settings import copied_setup_texts
from mngr_codex.plugin.home import account_models, config_toml, first_run, hook_trust, hooks_json, login, sandbox
from mngr_codex.plugin.home.config_toml import merge, render
from mngr_codex.plugin.home.model_upgrades import cached_upgrades
from mngr_codex.plugin.home.user_config import user_config
from mngr_codex.plugin.home.user_files import creation_script
from mngr_codex.plugin.host.facts import HOOKS, MODELS
from mngr_codex.plugin.host.files import HostFile, removal, write_files
from mngr_codex.plugin.host.place import HostPlace, update_hint
from mngr_codex.plugin.host.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.carry.login import Decision
    from mngr_codex.plugin.carry.plan import Carrying
    from mngr_codex.plugin.carry.settings import Setup
    from mngr_codex.plugin.home.app_server import CodexReport
    from mngr_codex.plugin.host.facts import HostFacts


@dataclass(frozen=True, kw_only=True)
class CodexHomeRequest:
    """What an agent's ``CODEX_HOME`` is built from."""

    agent_name: str = "NAME"
    """The agent's name, for notices."""
    agent_type: str = AGENT_TYPE
    """The agent's type, for notices."""
    codex_home: Path
    """The path of the home."""
    work_dir: Path
    """The agent's work directory, which the home will trust. The user must have consented to that."""
    program: Path | None
    """The path of the native program on the host, which the hooks call; None if this host has none."""
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
    program_content: bytes | None = None
    """The native program, to write to its path; None if it is there already."""
    tries_sandbox: bool = False
    """Whether Codex's sandbox is tried, unless the agent runs without it."""
    arguments: tuple[str, ...] = ()
    """The arguments of the agent's Codex, which can disable the sandbox."""
    removed: tuple[Path, ...] = ()
    """Files of an earlier agent to remove."""
    may_have_other_login: bool = False
    """Whether Codex may need no login, because of its arguments or its environment."""
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
    program: Path | None
    """The path of the native program; None if the host cannot run it."""
    files: tuple[HostFile, ...]
    """The files that complete the home. The caller writes them, together with others."""


@dataclass(frozen=True, kw_only=True)
class _UserSetup:
    """What the agent gets of the user's own setup."""

    config: Mapping[str, Any]
    folder: str
    """The folder that paths in the settings are relative to."""
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hooks: tuple[Mapping[str, Any], ...] = ()
    notices: tuple[str, ...] = ()
    is_carried: bool = False
    """Whether it is that of this machine."""

    @property
    def own_config(self) -> Mapping[str, Any]:
        """The content of the ``config.toml`` on the agent's host."""
        return {} if self.is_carried else self.config


def build(host: OnlineHostInterface, request: CodexHomeRequest, facts: HostFacts) -> CodexHome:
    """Builds an agent's ``CODEX_HOME`` on its host, except for the files that are returned.

    Must not be called while the agent's Codex runs: Codex stops running hooks if their file changes.

    Args:
        host: The agent's host.
        request: What the home is built from.
        facts: The facts about the host.

    Raises:
        ConfigParseError: An override is refused, or the user's ``config.toml`` cannot be read.
        MngrError: The home cannot be created.
    """
    config_toml.check_overrides(request.overrides)
    setup = request.carrying.setup(facts.owned) if request.carrying else None
    user = _user_setup(request, facts, setup)
    # Codex reports a hook's hash only after the hook is in place, and a repository's hooks only after the directory is
    # trusted.
    draft = _config(request, facts, user)
    carried = _Carried.plan(request, facts, setup, needs_login=login.needs_login(draft))
    first = first_run.run(
        host,
        first_run.FirstRun(
            command=facts.command,
            codex_home=request.codex_home,
            work_dir=request.work_dir,
            creation=_creation_script(request, facts),
            files=[*_first_files(request, user, draft), *carried.files],
            after_files=carried.script,
            program=request.program,
            tries_sandbox=request.tries_sandbox and not sandbox.is_disabled(draft, facts.command, request.arguments),
        ),
    )
    if request.program is not None and first.program_problem is not None:
        without = replace(request, program=None, program_content=None, removed=(*request.removed, request.program))
        built = build(host, without, facts)
        return replace(built, notices=(_program_notice(first.program_problem), *built.notices))
    return _complete(host, request, facts, user, carried.outcome(host, first), first)


def _creation_script(request: CodexHomeRequest, facts: HostFacts) -> str:
    """Returns the script that creates the directory, before the files are written."""
    cleaning = delivery.cleaning_script(request.codex_home) if request.carrying else ""
    creation = creation_script(
        facts.user_codex_home, request.codex_home, carries_user_files=request.carries_user_config
    )
    return cleaning + creation + removal(request.removed)


def _first_files(request: CodexHomeRequest, user: _UserSetup, draft: config_toml.Table) -> list[HostFile]:
    """Returns the files that Codex needs to list the hooks."""
    hooks = hooks_json.build_hooks(request.program, *user.hooks)
    texts = {"hooks.json": json.dumps(hooks, indent=2) + "\n", "config.toml": render(draft)}
    for name, profile in user.profiles.items():
        # Codex merges a profile into config.toml, so the profile must not override the pins either.
        texts[name] = render(merge(config_toml.carried_over(profile, user.folder), config_toml.PINS))
    files = [HostFile(request.codex_home / name, text.encode()) for name, text in texts.items()]
    if request.program is not None and request.program_content is not None:
        files.insert(0, HostFile(request.program, request.program_content, 0o755))
    return files


def _complete(
    host: OnlineHostInterface,
    request: CodexHomeRequest,
    facts: HostFacts,
    user: _UserSetup,
    carried: _Outcome,
    first: first_run.Answers,
) -> CodexHome:
    report = first.report
    trust = hook_trust.decide(
        report,
        own_commands=hooks_json.own_commands(request.program) if request.program else (),
        codex_home=request.codex_home,
        trusts_repository=request.trusts_repository_hooks,
        consented_hashes=request.consented_hashes,
        user_hashes=hook_trust.trusted_hashes(user.config),
    )
    # The list that the server last sent to the user's Codex is newer than the list that Codex was built with.
    cache = facts.text(MODELS)
    upgrades = {**report.model_upgrades, **cached_upgrades(cache)}
    config = _config(request, facts, user, work_dir=first.work_dir, upgrades=upgrades, hook_state=trust.state)
    cannot_list_hooks = report.hooks is None
    if cannot_list_hooks:
        # A Codex without hashes may know hooks only by their older name (0.128). If they are not disabled, it opens on
        # "Hooks need review".
        allowed = request.allows_bypass
        config = merge(config, {"features": {"hooks": allowed, "codex_hooks": allowed}})
    notices = [*user.notices, *carried.notices]
    draft = render(_config(request, facts, user))
    path = request.codex_home / "config.toml"
    refused = config_toml.refused_setting(report.diagnostics, path, draft)
    if refused is None:
        chosen = account_models.choose(
            config,
            query=lambda: _account_models(host, request, facts, config),
            has_account=facts.has_account or carried.has_account,
            cache=cache,
            falls_back=request.falls_back_to_default_model,
        )
        if chosen.notice:
            notices.append(chosen.notice)
        if chosen.replacement:
            config = merge(config, {"model": chosen.replacement})
    runs_hooks = trust.problem is None or (cannot_list_hooks and request.allows_bypass)
    if refused is not None:
        notices.append(_refusal_notice(request, facts, refused))
    elif not runs_hooks:
        notices.append(_missing_hooks_notice(report, trust, request.agent_type))
    elif first.sandbox_problem is not None:
        notices.append("\nhint: ".join(sandbox.texts(first.sandbox_problem, HostPlace.of(host))))
    if not (facts.is_logged_in or carried.is_logged_in) and login.needs_login(config):
        notices.append(
            login.login_notice(
                login.LoginPlace.of(host, facts.command),
                user.own_config,
                facts.user_codex_home,
                agent_name=request.agent_name,
                not_copied=carried.missing_login,
            )
        )
    if disabled := trust.notice(request.agent_type, update_hint(host, request.agent_name, request.agent_type)):
        notices.append(disabled)
    return CodexHome(
        notices=tuple(notices),
        reports=carried.reports,
        trust=trust,
        needs_bypass=cannot_list_hooks and request.allows_bypass and _knows_bypass(host, facts.command),
        has_live_state=runs_hooks and request.program is not None,
        codex_version=report.version,
        program=request.program,
        files=(HostFile(path, render(config).encode()),),
    )


def _account_models(
    host: OnlineHostInterface, request: CodexHomeRequest, facts: HostFacts, config: config_toml.Table
) -> account_models.AccountModels | None:
    # Codex is asked with the agent's own settings.
    write_files(host, [HostFile(request.codex_home / "config.toml", render(config).encode())])
    return account_models.query(host, command=facts.command, codex_home=request.codex_home)


def _user_setup(request: CodexHomeRequest, facts: HostFacts, setup: Setup | None) -> _UserSetup:
    """Returns the setup of the user on the agent's host, or that of this machine if there is none."""
    if not request.carries_user_config:
        return _UserSetup(config={}, folder=facts.user_codex_home)
    if setup and setup.has_settings:
        folder = str(request.codex_home / delivery.FOLDER)
        hooks, notices = _checked_hooks(setup.hooks, setup.config)
        return _UserSetup(
            config=setup.config,
            folder=folder,
            profiles=setup.profiles,
            hooks=hooks,
            notices=notices,
            is_carried=True,
        )
    config = user_config(facts)
    path = f"{facts.user_codex_home}/{HOOKS}"
    hooks_in_file, problem = hooks_json.parse_hooks(path, lambda: facts.text(HOOKS))
    hooks, notices = _checked_hooks(hooks_in_file, config)
    profiles, skipped = _profiles(facts)
    return _UserSetup(
        config=config,
        folder=facts.user_codex_home,
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


def _profiles(facts: HostFacts) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """Returns the user's profiles by the names of their files, and notices about unreadable ones."""
    from imbue.mngr.errors import ConfigParseError

    profiles: dict[str, Mapping[str, Any]] = {}
    notices = []
    for name in facts.profiles:
        read = functools.partial(facts.text, name)
        try:
            profiles[name] = config_toml.parse_config(f"{facts.user_codex_home}/{name}", read)
        except ConfigParseError as error:
            notices.append(f"one of your profiles is not used: {error}")
    return profiles, notices


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What was copied from this machine."""

    is_logged_in: bool = False
    has_account: bool = False
    missing_login: str = ""
    """Why no login was copied."""
    reports: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Carried:
    """What is copied from this machine: its setup, and its login if Codex needs one on the host."""

    setup: Setup | None = None
    decision: Decision | None = None
    is_allowed: bool = False
    """Whether anything may be copied."""
    command: str = "codex"
    """The command that runs Codex on the host."""
    user_codex_home: str = ""
    files: tuple[HostFile, ...] = ()
    script: str = ""
    """The script that runs after the files were written."""

    @classmethod
    def plan(cls, request: CodexHomeRequest, facts: HostFacts, setup: Setup | None, *, needs_login: bool) -> _Carried:
        """Decides what is copied."""
        if request.carrying is None:
            return cls()
        has_login = facts.is_logged_in or facts.has_token or request.may_have_other_login
        decision = request.carrying.decide_login() if needs_login and not has_login else None
        copied = decision.login if decision else None
        return cls(
            setup=setup,
            decision=decision,
            is_allowed=True,
            command=facts.command,
            user_codex_home=facts.user_codex_home,
            files=tuple(delivery.files(setup, copied, request.codex_home, uses_tar=facts.has_tar)),
            script=delivery.script(setup, copied, codex_home=request.codex_home, user_codex_home=facts.user_codex_home),
        )

    def outcome(self, host: OnlineHostInterface, first: first_run.Answers) -> _Outcome:
        """Returns what became of it, from the output of the script."""
        if not self.is_allowed:
            return _Outcome()
        place = login.LoginPlace.of(host, self.command)
        reports, notices = copied_setup_texts(self.setup, place)
        if first.after_files_problem is not None:
            notices = (*notices, f"your Codex setup could not be copied{place.there}: {first.after_files_problem}")
        if self.decision is None:
            return _Outcome(reports=reports, notices=notices)
        copied = self.decision.login
        if copied is None:
            missing = f" The login of this machine was not copied: {self.decision.reason}{self.decision.hint}"
            return _Outcome(missing_login=missing, reports=reports, notices=notices)
        is_copied = delivery.is_login_copied(first.lines)
        if is_copied is None:
            missing = f" The login of this machine could not be copied to {self.user_codex_home}"
            return _Outcome(missing_login=missing, reports=reports, notices=notices)
        if is_copied:
            text, is_warning = copied_notice(copied, place, self.user_codex_home)
            reports, notices = (reports, (*notices, text)) if is_warning else ((*reports, text), notices)
        return _Outcome(
            is_logged_in=True,
            has_account=copied.kind is Kind.RENEWED and is_copied,
            reports=reports,
            notices=notices,
        )


def _config(
    request: CodexHomeRequest,
    facts: HostFacts,
    user: _UserSetup,
    *,
    work_dir: str | None = None,
    upgrades: Mapping[str, str] | None = None,
    hook_state: Mapping[str, Any] | None = None,
) -> config_toml.Table:
    return config_toml.build_config(
        user_config=config_toml.carried_over(user.config, user.folder),
        settings=request.settings,
        instructions=request.instructions,
        overrides=request.overrides,
        trusted_paths={str(request.work_dir), work_dir or str(request.work_dir)},
        model_upgrades=upgrades,
        hook_state=hook_state,
    )


def _refusal_notice(request: CodexHomeRequest, facts: HostFacts, refused: str) -> str:
    sources = [f"{facts.user_codex_home}/config.toml"] if request.carries_user_config else []
    sources.append("config_overrides and the other settings of the agent type")
    return f"Codex does not start with these settings: {refused}\nhint: check {', and '.join(sources)}"


def _program_notice(problem: str) -> str:
    return (
        f"cannot run the {PROGRAM} program on the agent's host: {problem}. The agent runs without it, so mngr shows it "
        "as WAITING even while it is busy, and keeps no transcript.\n"
        f"hint: set program_wheels for the agent type to a wheel of {PROGRAM} whose program runs there"
    )


def _missing_hooks_notice(report: CodexReport, trust: hook_trust.HookTrust, agent_type: str) -> str:
    if report.version is None:
        hint = "fix that and recreate the agent, or use a newer Codex if this one is too old"
    elif report.hooks is None:
        setting = f"trust_repo_hooks = true under [agent_types.{agent_type}] of mngr's settings"
        hint = f"use a newer Codex, or set {setting} to run all hooks without review"
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
