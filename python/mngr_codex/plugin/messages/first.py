"""The first message of a new agent: refused before anything is made if it cannot arrive, and a warning if it did not.

An error after the agent has started would make mngr remove the worktree in which the agent is running.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from imbue.mngr.errors import MessageDeliveredButBlockedError, SendFailureKind, SendMessageError

from mngr_codex import _core
from mngr_codex.plugin.carry.plan import Carrying
from mngr_codex.plugin.carry.settings import has_own_settings
from mngr_codex.plugin.command_setting import arguments_of, program_of
from mngr_codex.plugin.home import config_toml, login
from mngr_codex.plugin.home.user_config import user_config as read_user_config
from mngr_codex.plugin.host.facts import TOKENS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from imbue.mngr.interfaces.host import CreateAgentOptions, OnlineHostInterface

    from mngr_codex.plugin.config import CodexAgentConfig
    from mngr_codex.plugin.host.facts import HostFacts

# Those that 0.163 and 0.171 list after `/`, and names that they accept but do not list.
_COMMAND = re.compile(
    "/(agents|approvals|approve|apps|archive|btw|cd|clear|compact|config|copy|daemon|delete|diff|exit|experimental"
    "|export|fast|feedback|fork|goal|hooks|ide|import|init|keymap|logout|mcp|memories|mention|model|new|permissions"
    "|personality|pets|plan|plugins|presets|ps|pwd|quit|raw|rc|recap|rename|resume|review|side|skills|status|statusline"
    "|stop|subagents|theme|title|tui|vim|voice|warnings|worktree)"
)
_STARTS_A_TURN = re.compile(r"/init(?=\s|$)|/(goal|plan|review)\s+\S")
"""The commands that start a turn, all but one with a text (0.163, 0.171)."""
_PROVIDER_OPTIONS = ("-c", "--config", "-p", "--profile", "--oss", "--local-provider", "--remote")
"""The options of Codex that can change its model provider."""
_SHOWN_LENGTH = 80


def stopped_hint(options: CreateAgentOptions) -> str:
    """Returns a further hint for an error about an agent that is updated: mngr has stopped it. Otherwise empty."""
    return f"\nhint: mngr has stopped the agent; start it with `mngr start {options.name}`" if options.is_update else ""


def command_refusal(name: str, message: str, *, is_update: bool = False) -> str | None:
    """Returns an error if a first message is a Codex command that does not start a turn.

    Args:
        name: The agent's name.
        message: The message.
        is_update: Whether the agent exists and is updated.
    """
    text = _core.clean_message(message.encode("utf-8", "replace").decode())
    word = text.split()[0] if _core.is_slash_command(text) else ""
    if not _COMMAND.fullmatch(word) or _STARTS_A_TURN.match(text):
        return None
    shown = text if "\n" not in text.strip() and len(text) <= _SHOWN_LENGTH else f"{word} …"
    return (
        f"not {'updating' if is_update else 'creating'} agent {name}: its first message is the Codex "
        f"command {word}, which does not start a turn\n"
        f"hint: {'update' if is_update else 'create'} the agent without a message, then run "
        f"`mngr message {name} -m {shlex.quote(shown.strip())}`; "
        "with a space before the slash it is a message to the model"
    )


def login_refusal(
    host: OnlineHostInterface,
    facts: HostFacts,
    options: CreateAgentOptions,
    config: CodexAgentConfig,
    settings: Mapping[str, Any],
) -> str | None:
    """Returns an error if Codex would show its login screen instead of taking the first message.

    Whatever cannot be known counts as a login: options that can change the model provider, a program other than Codex,
    or an access token in the environment.

    Args:
        host: The agent's host.
        facts: The facts about the host.
        options: The options that the agent is created with.
        config: The agent's settings, validated.
        settings: The agent's settings by the names that they have in Codex's ``config.toml``.

    Raises:
        ConfigParseError: The user's ``config.toml`` cannot be read.
    """
    user_home = facts.user_codex_home
    # An unreadable file is an error now, and not after the agent's worktree was made.
    own_config = read_user_config(facts) if config.use_user_config else {}
    user_config = own_config
    carrying = Carrying.of(host, config)
    if carrying and carrying.settings is not False and not has_own_settings(facts.owned):
        user_config = carrying.user_config()
    has_login = facts.is_logged_in or facts.has_token or may_have_other_login(options, config)
    if options.initial_message is None or has_login:
        return None
    merged = config_toml.build_config(
        user_config=config_toml.carried_over(user_config, user_home),
        settings=settings,
        overrides=config.config_overrides,
    )
    # A profile can have another model provider.
    if "profile" in merged or not login.needs_login(merged):
        return None
    name = options.name or "NAME"
    decision = carrying.decide_login() if carrying else None
    if decision and decision.login:
        return None
    not_copied = f". The login of this machine is not copied: {decision.reason}{decision.hint}" if decision else ""
    place = login.LoginPlace.of(host, facts.command)
    return (
        f"not {'updating' if options.is_update else 'creating'} agent {name}: Codex is not logged in{place.there} "
        f"({user_home}/auth.json does not exist) and would not take the first message{not_copied}\n"
        f"hint: {place.action} first; or {'update' if options.is_update else 'create'} the agent without a message, "
        f"log in with `mngr connect {name}`, and then run `mngr message {name}`"
        f"{login.keyring_hint(own_config, user_home)}"
    )


def may_have_other_login(options: CreateAgentOptions, config: CodexAgentConfig) -> bool:
    """Returns whether Codex may need no login: another program, an option for its provider, or a token.

    Args:
        options: The options that the agent is created with.
        config: The agent's settings, validated.
    """
    command = str(config.command)
    arguments = (*arguments_of(command), *config.cli_args, *options.agent_args)
    if program_of(command).rpartition("/")[2] != "codex" or any(
        argument.startswith(_PROVIDER_OPTIONS) for argument in arguments
    ):
        return True
    variables = [variable.key for variable in options.environment.env_vars]
    texts = (command, *variables, *(file.read_text(errors="replace") for file in options.environment.env_files))
    return any(name in text for name in TOKENS for text in texts)


def undelivered_warning(name: str, message: str, error: BaseException) -> str:
    """Returns the warning for a first message that did not arrive at a running agent.

    Args:
        name: The agent's name.
        message: The message.
        error: Why it did not arrive.
    """
    is_interrupted = isinstance(error, KeyboardInterrupt)
    reason = error.reason if isinstance(error, SendMessageError) else str(error) or type(error).__name__
    if is_interrupted:
        reason = "interrupted"
    if isinstance(error, MessageDeliveredButBlockedError):
        return f"agent {name} is running and has the first message: {reason}"
    fits = "\n" not in message.strip() and len(message) <= _SHOWN_LENGTH
    again = f"mngr message {name} -m {shlex.quote(message.strip()) if fits else '…'}"
    kind = error.kind if isinstance(error, SendMessageError) else None
    # Codex may have exited in the meantime.
    running = "" if kind is SendFailureKind.AGENT_UNREACHABLE else "is running, but "
    is_unconfirmed = is_interrupted or kind is SendFailureKind.SUBMISSION_UNCONFIRMED
    state = "may not have" if is_unconfirmed else "does not have"
    return f"agent {name} {running}{state} the first message: {reason}\nhint: send it again with `{again}`"
