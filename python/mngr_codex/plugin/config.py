"""The settings of the agent type ``codex``: what may stand under ``[agent_types.codex]`` in mngr's settings."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from imbue.mngr.config.data_types import AgentTypeConfig
from imbue.mngr.errors import ConfigParseError
from imbue.mngr.primitives import CommandString
from pydantic import Field, ModelWrapValidatorHandler, ValidationError, ValidationInfo, model_validator

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
SandboxMode = Literal["read-only", "workspace-write", "danger-full-access"]
UpdatePolicy = Literal["AUTO", "ASK", "NEVER"]


# With it wrong values are refused, and not kept.
_CHECKED = {"is_checked": True}


class CodexAgentConfig(AgentTypeConfig):
    """Settings of a codex agent.

    mngr does not always validate what it fills this with, so the agent calls :meth:`validated` before anything is made.
    """

    command: CommandString = Field(
        default=CommandString("codex"),
        description="The codex to run: a name on PATH, a path, or a command with arguments of its own.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Codex's own `model` setting. Unset: what the user's config.toml or codex itself says.",
    )
    model_reasoning_effort: ReasoningEffort | None = Field(
        default=None,
        description=f"How hard the model thinks: {', '.join(get_args(ReasoningEffort))}. Unset: as codex decides.",
    )
    sandbox_mode: SandboxMode | None = Field(
        default=None,
        description=f"What commands of the model may touch: {', '.join(get_args(SandboxMode))}. Unset: what the user's "
        "config.toml says, else workspace-write.",
    )
    auto_allow_permissions: bool = Field(
        default=False,
        description='Never ask for approval (codex\'s `approval_policy = "never"`): for agents that nobody watches. '
        "The sandbox still holds.",
    )
    config_overrides: dict[str, Any] = Field(
        default_factory=dict,
        description="Anything else for codex's config.toml, as tables. Merged deeply and last: wins over the settings "
        "above and over the user's own config.toml.",
    )
    use_user_config: bool = Field(
        default=True,
        description="Carry over what the user has set up in ~/.codex: settings, model providers, MCP servers, "
        "profiles, AGENTS.md, prompts, skills and rules. The login is shared in any case.",
    )
    auto_dismiss_dialogs: bool = Field(
        default=False,
        description="Trust the agent's work dir without asking.",
    )
    auto_dismiss_dialogs_at_startup: bool | None = Field(
        default=None,
        description="Another name for auto_dismiss_dialogs, as older versions of mngr call it.",
    )
    trust_repo_hooks: bool = Field(
        default=False,
        description="Let hooks run that the repository brings (`.codex/hooks.json` and the like) where nobody can be "
        "asked. They run commands as the user, so only for repositories whose hooks are known.",
    )
    update_policy: UpdatePolicy = Field(
        default="ASK",
        description="What to do when codex has a newer version: AUTO runs `codex update`, ASK asks where somebody can "
        "be asked and gives a notice elsewhere, NEVER gives a notice.",
    )
    version: str | None = Field(
        default=None,
        description="The version of codex that must be there: installed if codex is missing, an error if there is "
        "another.",
    )
    check_installation: bool = Field(
        default=True,
        description="Look whether codex is there, and offer to install it where it is not.",
    )
    emit_common_transcript: bool = Field(
        default=True,
        description="Make the common transcript, which `mngr transcript` shows. The raw one is made in any case.",
    )
    message_confirmation_seconds: float = Field(
        default=90.0,
        gt=0,
        le=86_400,
        description="How long `mngr message` waits for codex to take a message. While a call of a turn runs, codex "
        "holds messages; then a warning tells so.",
    )
    preserve_on_destroy: bool = Field(
        default=True,
        description="Keep transcripts and sessions of an agent that is destroyed, for `mngr transcript --preserved` "
        "and `mngr create --adopt`.",
    )

    @property
    def is_dialog_dismissed(self) -> bool:
        """Whether the work dir is to be trusted without asking, by either name of the setting."""
        return bool(self.auto_dismiss_dialogs or self.auto_dismiss_dialogs_at_startup)

    def confirmation_seconds(self) -> float:
        """Give how long a message is waited for: the default where the setting is wrong, and no error."""
        field = "message_confirmation_seconds"
        try:
            return (
                type(self).model_validate({field: getattr(self, field)}, context=_CHECKED).message_confirmation_seconds
            )
        except ConfigParseError:
            return CodexAgentConfig().message_confirmation_seconds

    @model_validator(mode="wrap")
    @classmethod
    def _kept_until_it_matters(
        cls, values: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """Keep wrong values as they are, until an agent is made.

        mngr reads all settings for each of its commands, also for those by which they are put right.
        """
        try:
            return handler(values)
        except ValidationError as error:
            wrong = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
            is_to_be_kept = isinstance(values, dict) and not info.context and wrong <= cls.model_fields.keys()
            if not (wrong and is_to_be_kept):
                raise ConfigParseError(f"Wrong settings of a codex agent: {_told(error)}") from None
            kept = handler({name: value for name, value in values.items() if name not in wrong})
            kept.__dict__.update({name: values[name] for name in wrong & values.keys()})
            kept.__pydantic_fields_set__.update(wrong)
            return kept

    def validated(self, agent_type: str | None = None) -> Self:
        """Give these settings with every value checked.

        Args:
            agent_type: The agent type that they are of, for the message.

        Raises:
            ConfigParseError: A value is none of those that are allowed; the message names the setting and them.
        """
        try:
            return type(self).model_validate(
                {name: value for name, value in self if value is not None}, context=_CHECKED
            )
        except ConfigParseError as error:
            where = f"[agent_types.{agent_type or '…'}] of mngr's settings; `mngr config path` names the files"
            raise ConfigParseError(f"{error}. They stand under {where}.") from None


def _told(error: ValidationError) -> str:
    problems = error.errors()
    return "; ".join(f"{_place(problem['loc'])} = {problem['input']!r}: {problem['msg']}" for problem in problems)


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
