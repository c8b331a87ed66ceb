"""Whether the user's ChatGPT account offers the model that an agent is configured with.

Codex fetches the account's list of models if it has a ChatGPT login and one of OpenAI's own models (seen on 0.163 and
0.171). With an API key, and if it cannot fetch the list, it uses the list that it was built with, which says nothing
about the account. The file ``models_cache.json`` contains only fetched lists.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.home.app_server import ANSWER_SECONDS, MODEL_LIST, exchange, list_of, listed_models, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

SETTING = "fall_back_to_account_default_model"
_PROVIDER = "openai"
_CACHE = "models_cache.json"
_FRESH_MINUTES = 10
"""How old the list in the agent's home may be. Codex itself fetches it again after five minutes."""
_CURRENT = timedelta(days=1)
"""How old the list in the user's home may be for a warning."""
# Otherwise Codex fetches lists of plugins and apps too.
_OPTIONS = "-c features.plugins=false -c features.apps=false"


@dataclass(frozen=True, kw_only=True)
class AccountModels:
    """The models that an account offers."""

    names: frozenset[str]
    default: str | None
    """The model that Codex uses if none is configured."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The model of an agent."""

    replacement: str | None = None
    """The model to use instead of the configured one, or None."""
    notice: str | None = None
    """A warning for the user, or None."""


def choose(
    config: Mapping[str, Any],
    *,
    query: Callable[[], AccountModels | None],
    has_account: bool,
    cache: str | None,
    falls_back: bool,
) -> Choice:
    """Chooses between the configured model and the account's default.

    Args:
        config: The content of the agent's ``config.toml``.
        query: Asks Codex for the account's models; None if it cannot fetch them.
        has_account: Whether the login is a ChatGPT login.
        cache: The text of the user's ``models_cache.json``, or None if it does not exist.
        falls_back: Whether the account's default may be used. Only then Codex is asked, over the network; otherwise
            nothing but the user's cache is read.
    """
    model = config.get("model")
    if not isinstance(model, str) or config.get("model_provider", _PROVIDER) != _PROVIDER:
        return Choice()
    if not has_account:
        return Choice(notice=_unknown_notice(model, "it has no ChatGPT login")) if falls_back else Choice()
    cached = cached_names(cache, datetime.now(UTC))
    if model in cached:
        return Choice()
    if not falls_back:
        return Choice(notice=_lacking_notice(model)) if cached else Choice()
    offered = query()
    if offered is None:
        return Choice(notice=_unknown_notice(model, "it could not fetch the account's list of models"))
    if model in offered.names:
        return Choice()
    if offered.default is None:
        return Choice(notice=_lacking_notice(model, has_setting=True))
    return Choice(
        replacement=offered.default,
        notice=f"your ChatGPT account does not offer the model {model}: the agent uses the account's default model, "
        f"{offered.default}",
    )


def _lacking_notice(model: str, *, has_setting: bool = False) -> str:
    lacks = f"your ChatGPT account does not seem to offer the model {model}, so the agent's turns may fail"
    if has_setting:
        return f"{lacks}\nhint: set another model; the account's list has no default"
    return f"{lacks}\nhint: set another model, or {SETTING} = true to use the account's default model then"


def _unknown_notice(model: str, reason: str) -> str:
    return f"Codex cannot tell whether you may use the model {model}: {reason}. The agent uses {model} nevertheless"


def cached_names(cache: str | None, now: datetime) -> frozenset[str]:
    """Returns the models of the list that Codex last fetched; none if the list is old or damaged.

    Args:
        cache: The text of ``models_cache.json``, or None if the file does not exist.
        now: The current time.
    """
    try:
        content = json.loads(cache or "null")
        age = now - datetime.fromisoformat(text_of(content, "fetched_at"))
    except (ValueError, TypeError, RecursionError):
        return frozenset()
    if age > _CURRENT:
        return frozenset()
    return frozenset(filter(None, (text_of(model, "slug") for model in list_of(content, "models"))))


def query(host: OnlineHostInterface, *, command: str, codex_home: Path) -> AccountModels | None:
    """Asks Codex for the models that the account offers. Takes about half a second and the time of the network.

    Args:
        host: The host that runs Codex.
        command: The ``command`` setting, as a shell would run it.
        codex_home: The agent's ``CODEX_HOME`` with its settings and the login. Codex keeps the list there.

    Returns:
        The models; None if Codex could not fetch the list.
    """
    cache = shlex.quote(str(codex_home / _CACHE))
    script = f"""\
export CODEX_HOME={shlex.quote(str(codex_home))}
{exchange(command, [MODEL_LIST], options=_OPTIONS)}
[ -n "$(find {cache} -mmin -{_FRESH_MINUTES} 2>/dev/null)" ]"""
    result = host.execute_idempotent_command(
        f"bash -c {shlex.quote(script)}", timeout_seconds=float(ANSWER_SECONDS + 5)
    )
    models = listed_models(result.stdout) if result.success else None
    names = frozenset(filter(None, (text_of(model, "model") for model in models or ())))
    if not names:
        return None
    defaults = (text_of(model, "model") for model in models or () if model.get("isDefault") is True)
    return AccountModels(names=names, default=next(defaults, None))
