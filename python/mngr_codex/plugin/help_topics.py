"""The pages of ``mngr help`` about Codex agents. Their text is read when a page is shown.

``mngr help codex`` is the page of the command, so topics have longer names.
"""

from __future__ import annotations

from collections.abc import Callable

from imbue.mngr.interfaces.help_topic import InlineContent, TopicHelpPage
from pydantic import PrivateAttr

_DOCUMENTATION = "https://github.com/mngr-codex/mngr-codex/blob/main"
_DISTRIBUTION = "mngr-codex"


class _Topic(TopicHelpPage):
    """A page whose text is created when it is shown."""

    _load: Callable[[], str] = PrivateAttr()
    _source: str = PrivateAttr()

    @classmethod
    def create(cls, key: str, description: str, source: str, load: Callable[[], str], **values: object) -> _Topic:
        """Creates a page.

        Args:
            key: Its name.
            description: What the list of topics shows.
            source: The file that links in the text are relative to.
            load: Returns the text, as Markdown.
            values: Other fields.
        """
        topic = cls.model_validate(
            {"key": key, "one_line_description": description, "body": InlineContent(markdown=""), **values}
        )
        topic._load, topic._source = load, f"{_DOCUMENTATION}/{source}"
        return topic

    def load_body(self) -> str:
        """Returns the text of the page."""
        return self._load()

    def link_base_url(self) -> str | None:
        """Returns the URL that links in the text are relative to."""
        return self._source


def topics() -> list[TopicHelpPage]:
    """Returns the pages of this plugin."""
    return [
        _Topic.create(
            "codex_guide",
            "mngr codex: Create and use Codex agents",
            "README.md",
            readme,
            see_also=(("codex_settings", "The settings"), ("codex", "The commands"), ("create", "Create an agent")),
        ),
        _Topic.create(
            "codex_settings",
            "mngr codex: Settings of Codex agents",
            "docs/settings.md",
            settings,
            see_also=(("codex_guide", "Create and use Codex agents"), ("config", "Change settings")),
        ),
    ]


def readme() -> str:
    """Returns the README, which is part of the installed distribution's metadata."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        text = metadata(_DISTRIBUTION)["Description"]
    except (PackageNotFoundError, KeyError):
        text = None
    return text or f"See {_DOCUMENTATION}/README.md\n"


def settings() -> str:
    """Returns the settings with their defaults and descriptions."""
    from imbue.mngr.config.data_types import AgentTypeConfig

    from mngr_codex.plugin.config import CodexAgentConfig

    own: list[str] = []
    of_all_types: list[str] = []
    for name, field in CodexAgentConfig.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = "" if default in (None, "", (), {}) else f" (default: `{_toml(default)}`)"
        text = f"- `{name}`{shown}: {' '.join((field.description or '').split())}"
        is_own = name not in AgentTypeConfig.model_fields or field.description != (
            AgentTypeConfig.model_fields[name].description
        )
        (own if is_own else of_all_types).append(text)
    return "\n".join(
        [
            "# Settings of Codex agents",
            "",
            "Set them under `[agent_types.codex]` in mngr's settings (`mngr config edit --scope user`), or for one "
            "command with `-S agent_types.codex.NAME=VALUE`. Agents get them when they are created; "
            "`mngr create NAME codex --reuse --update` applies later changes.",
            "",
            *own,
            "",
            "## Settings of all agent types",
            "",
            *of_all_types,
            "",
        ]
    )


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
