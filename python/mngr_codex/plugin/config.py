"""The settings of the agent type ``codex``, under ``[agent_types.codex]`` in mngr's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from imbue.mngr.config.data_types import AgentTypeConfig
from imbue.mngr.config.field_markers import SettingsPatchField
from imbue.mngr.errors import ConfigParseError
from imbue.mngr.primitives import CommandString, OutputStyleName, SystemPromptText
from pydantic import (
    Field,
    FieldSerializationInfo,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
SandboxMode = Literal["read-only", "workspace-write", "danger-full-access"]
UpdatePolicy = Literal["AUTO", "ASK", "NEVER"]

# With this validation context invalid values are rejected instead of kept.
_CHECKED = {"is_checked": True}

# The key of an invalid value of `config_overrides` in the table that stands for it while mngr adds up settings.
_NO_TABLE = "(not a table)"


class CodexAgentConfig(AgentTypeConfig):
    """Settings of a Codex agent.

    mngr does not always validate the values, so the agent calls :meth:`validated` before anything is created.
    """

    command: CommandString = Field(
        default=CommandString("codex"),
        description="The Codex to run: a name on PATH, a path, or a command with arguments.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Codex's `model` setting. Unset: the model of the user's config.toml, or Codex's default.",
    )
    fall_back_to_account_default_model: bool = Field(
        default=False,
        description="If your ChatGPT account does not offer the model, use the account's default model. Codex is asked "
        "for the account's models when an agent is created. An API key has no list of models.",
    )
    model_reasoning_effort: ReasoningEffort | None = Field(
        default=None,
        description=f"How much the model reasons: {', '.join(get_args(ReasoningEffort))}. Unset: Codex's default.",
    )
    append_system_prompt: tuple[SystemPromptText, ...] = Field(
        default=(),
        description="Instructions for the model, appended to those of the user's config.toml (Codex's "
        "`developer_instructions`). A template adds to them with `append_system_prompt__extend`.",
    )
    output_style: OutputStyleName | None = Field(
        default=None,
        description="The `name:` of a Markdown file in the repository's .agents/output-styles. The file is appended to "
        "the instructions.",
    )
    sandbox_mode: SandboxMode | None = Field(
        default=None,
        description=f"What the model's commands may access: {', '.join(get_args(SandboxMode))}. Unset: the value "
        "of the user's config.toml, otherwise workspace-write.",
    )
    auto_allow_permissions: bool = Field(
        default=False,
        description='Never ask for approval (Codex\'s `approval_policy = "never"`), for unattended agents. '
        "The sandbox still applies.",
    )
    auto_disable_questions: bool = Field(
        default=False,
        description="Take away the tool by which the model asks the user (`request_user_input`), for unattended "
        "agents: an open question stops the turn until somebody answers.",
    )
    config_overrides: Annotated[dict[str, Any], SettingsPatchField()] = Field(
        default_factory=dict,
        description="Any other settings for Codex's config.toml, as tables. They are merged in last and override the "
        "settings above and the user's config.toml. Those of the user's, the project's and the local settings, and of "
        "a parent type, add up.",
    )
    use_user_config: bool = Field(
        default=True,
        description="Use the user's setup in ~/.codex: settings, model providers, MCP servers, profiles, AGENTS.md, "
        "prompts, skills and rules. The login is always shared.",
    )
    carry_login: Literal[True, False, "api_key"] = Field(
        default="api_key",
        description="Whether the login of this machine is copied to a host without one, into ~/.codex/auth.json of its "
        "user: true copies any login, api_key only an API key. Of a ChatGPT login only one copy stays valid.",
    )
    carry_settings: Literal[True, False, "with_secrets"] = Field(
        default=True,
        description="Whether agents on other hosts get the setup of this machine as far as the user there has none: "
        "true copies it without possible secrets, with_secrets copies these too.",
    )
    auto_dismiss_dialogs: bool = Field(
        default=False,
        description="Trust the agent's work directory without asking.",
    )
    auto_dismiss_dialogs_at_startup: bool | None = Field(
        default=None,
        description="The name of auto_dismiss_dialogs in older versions of mngr.",
    )
    trust_repo_hooks: bool = Field(
        default=False,
        description="Run the repository's hooks (`.codex/hooks.json` and similar) without asking. They run commands as "
        "the user, so use this only for repositories whose hooks you know.",
    )
    update_policy: UpdatePolicy = Field(
        default="ASK",
        description="What to do if a newer version of Codex is available: AUTO runs `codex update`, ASK asks in a "
        "terminal and shows a notice otherwise, NEVER shows a notice.",
    )
    version: str | None = Field(
        default=None,
        description="The required version of Codex. It is installed if Codex is missing; another version is an error.",
    )
    check_installation: bool = Field(
        default=True,
        description="Check that Codex is installed and offer to install it.",
    )
    program_wheels: Path | None = Field(
        default=None,
        description="The path of a wheel of mngr-codex, or of a directory of wheels, on this machine: absolute, or "
        "beginning with ~/. Hosts "
        "with a different OS or architecture get their native program from it. Unset: agents there run, but mngr "
        "cannot show whether they are busy.",
    )
    emit_common_transcript: bool = Field(
        default=True,
        description="Create the common transcript, which `mngr transcript` shows. The raw one is always created.",
    )
    message_confirmation_seconds: float = Field(
        default=90.0,
        gt=0,
        le=86_400,
        description="How long `mngr message` waits for Codex to acknowledge a message. Codex queues messages while a "
        "tool call runs; `mngr message` then prints a warning.",
    )
    preserve_on_destroy: bool = Field(
        default=True,
        description="Keep the transcripts and sessions of destroyed agents, for `mngr transcript --preserved` and "
        "`mngr create --adopt`.",
    )

    @property
    def is_dialog_dismissed(self) -> bool:
        """Whether the work directory is trusted without asking, by either name of the setting."""
        return bool(self.auto_dismiss_dialogs or self.auto_dismiss_dialogs_at_startup)

    @field_validator("program_wheels", mode="before")
    @classmethod
    def _reject_relative_path(cls, value: Any) -> Any:
        """Rejects a relative path, which would depend on the directory in which mngr runs."""
        if isinstance(value, str | Path) and not str(value).startswith(("/", "~/")):
            raise ValueError("the path must be absolute or begin with ~/")
        return value

    @field_serializer("config_overrides", mode="plain")
    def _make_table(self, value: Any, info: FieldSerializationInfo) -> Any:
        """Returns an invalid value as a table if mngr adds up the tables of several settings files.

        mngr then serializes the settings as Python objects of their own types, and parses the sum. What it shows or
        writes is JSON.
        """
        is_added_up = info.serialize_as_any and info.mode == "python"
        return {_NO_TABLE: value} if is_added_up and not isinstance(value, dict | None) else value

    def confirmation_seconds(self) -> float:
        """Returns ``message_confirmation_seconds``, or its default if the value is invalid."""
        field = "message_confirmation_seconds"
        try:
            return (
                type(self).model_validate({field: getattr(self, field)}, context=_CHECKED).message_confirmation_seconds
            )
        except ConfigParseError:
            return CodexAgentConfig().message_confirmation_seconds

    @model_validator(mode="wrap")
    @classmethod
    def _keep_invalid_values(cls, values: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Keeps invalid values until an agent is created.

        mngr reads all settings for every command, including the commands that fix them.
        """
        overrides = values.get("config_overrides") if isinstance(values, dict) else None
        if isinstance(overrides, dict) and _NO_TABLE in overrides:
            values = {**values, "config_overrides": overrides[_NO_TABLE]}
        try:
            return handler(values)
        except ValidationError as error:
            invalid = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
            can_keep = isinstance(values, dict) and not info.context and invalid <= cls.model_fields.keys()
            if not (invalid and can_keep):
                raise ConfigParseError(f"invalid setting for Codex agents: {_describe(error)}") from None
            kept = handler({name: value for name, value in values.items() if name not in invalid})
            kept.__dict__.update({name: values[name] for name in invalid & values.keys()})
            kept.__pydantic_fields_set__.update(invalid)
            return kept

    def validated(self, agent_type: str | None = None) -> Self:
        """Returns a copy of these settings in which every value is valid.

        Args:
            agent_type: The agent type with these settings, for the error message.

        Raises:
            ConfigParseError: A value is invalid. The message names the setting and the allowed values.
        """
        values = {name: value for name, value in self if value is not None}
        try:
            return type(self).model_validate(values, context=_CHECKED)
        except ConfigParseError as error:
            table = f"[agent_types.{agent_type or '…'}]"
            raise ConfigParseError(
                f"{error} (set under {table} in mngr's settings)\nhint: `mngr config path` lists the settings files"
            ) from None


def _describe(error: ValidationError) -> str:
    problems = error.errors()
    return "; ".join(f"{_name(problem['loc'])} = {problem['input']!r}: {problem['msg']}" for problem in problems)


def _name(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
