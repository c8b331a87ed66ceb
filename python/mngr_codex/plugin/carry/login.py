"""Whether the login of this machine's Codex goes to another host, and the texts about that.

Codex renews a ChatGPT login with a refresh token that works once. Of two copies, the one that is renewed first stays
valid; the other one gets "your refresh token was already used. Please log out and sign in again", for good. Logging
out of one copy revokes the token of both. Processes that share one file do not have the problem: each reads the file
again before it renews the login. Seen on 0.163 and 0.171.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.home.login import keyring_hint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mngr_codex.plugin.home.login import LoginPlace

AUTH = "auth.json"
"""The file with the login in a Codex home."""
API_KEY_VARIABLES = ("CODEX_API_KEY", "OPENAI_API_KEY")
"""The variables that can contain an API key, in the order in which ``codex exec`` looks for them. Codex's TUI ignores
them (0.163, 0.171)."""
ONLY_API_KEYS = "api_key"
"""The value of ``carry_login`` that copies no other login."""

_MAXIMUM_BYTES = 1024 * 1024


class Kind(enum.Enum):
    """The kinds of logins, by what becomes of two copies."""

    API_KEY = "an API key"
    RENEWED = "a ChatGPT login"
    OTHER = "an access token"


@dataclass(frozen=True, kw_only=True)
class Login:
    """A login of this machine."""

    kind: Kind
    source: str
    """The file or the variable that it comes from."""
    content: bytes = field(repr=False)
    """The content of its ``auth.json``."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a login is copied to a host that has none."""

    login: Login | None
    """The login to copy, or None."""
    reason: str = ""
    """Why none is copied, as a clause."""
    hint: str = ""
    """Further lines of the notice about that."""


def decide(
    setting: bool | str, *, codex_home: Path, environment: Mapping[str, str], user_config: Mapping[str, Any]
) -> Decision:
    """Decides whether the login of this machine is copied to a host that has none and whose Codex needs one.

    Args:
        setting: The agent's ``carry_login``.
        codex_home: The user's Codex home on this machine.
        environment: The environment of mngr.
        user_config: The content of the user's ``config.toml`` on this machine.
    """
    if setting is False:
        return Decision(login=None, reason="carry_login is false")
    path = codex_home / AUTH
    try:
        login = find(codex_home, environment)
    except OSError as error:
        return Decision(login=None, reason=f"{path} cannot be read: {error.strerror or error}")
    if login is None:
        return Decision(login=None, reason=f"there is none in {path}", hint=keyring_hint(user_config, str(codex_home)))
    if setting == ONLY_API_KEYS and login.kind is not Kind.API_KEY:
        why = "which works in one place only" if login.kind is Kind.RENEWED else "and carry_login is api_key"
        return Decision(
            login=None,
            reason=f"it is {login.kind.value}, {why}",
            hint="\nhint: to copy it all the same, set carry_login = true for the agent type",
        )
    return Decision(login=login)


def find(codex_home: Path, environment: Mapping[str, str]) -> Login | None:
    """Returns the login of this machine: the file, or else one made of an API key in the environment.

    Args:
        codex_home: The user's Codex home.
        environment: The environment of mngr.

    Raises:
        OSError: The file cannot be read.
    """
    path = codex_home / AUTH
    try:
        with path.open("rb") as file:
            content = file.read(_MAXIMUM_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        content = b""
    if len(content) > _MAXIMUM_BYTES:
        raise OSError("it is too large for a login")
    # Codex ignores an empty file.
    if content:
        return Login(kind=kind_of(content), source=str(path), content=content)
    for name in API_KEY_VARIABLES:
        if key := environment.get(name):
            return Login(kind=Kind.API_KEY, source=name, content=of_api_key(key).encode())
    return None


def of_api_key(key: str) -> str:
    """Returns the text of the ``auth.json`` that ``codex login --with-api-key`` writes."""
    return json.dumps({"auth_mode": "apikey", "OPENAI_API_KEY": key}) + "\n"


def kind_of(content: bytes) -> Kind:
    """Returns the kind of a login by the content of its ``auth.json``. A refresh token decides, not a key."""
    try:
        login = json.loads(content)
    except (ValueError, RecursionError):
        return Kind.OTHER
    tokens = login.get("tokens") if isinstance(login, dict) else None
    if isinstance(tokens, dict) and tokens.get("refresh_token"):
        return Kind.RENEWED
    has_key = isinstance(login, dict) and bool(login.get("OPENAI_API_KEY")) and not tokens
    return Kind.API_KEY if has_key and login.get("auth_mode") in (None, "apikey") else Kind.OTHER


def copied_notice(login: Login, place: LoginPlace, user_codex_home: str) -> tuple[str, bool]:
    """Returns the notice that a login was copied, and whether it is a warning.

    Args:
        login: The login.
        place: The host.
        user_codex_home: The Codex home of the user there.
    """
    where = f"{user_codex_home}/{AUTH}{place.there}"
    if login.kind is not Kind.RENEWED:
        return f"{login.kind.value} was copied from {login.source} to {where}, because Codex had no login there", False
    return (
        f"your ChatGPT login for Codex was copied from {login.source} to {where}. Codex renews it from time to time, "
        "and each renewal invalidates the previous one, so this machine or that host can be logged out. `codex logout` "
        f"in one place logs out both\nhint: to give the host a login of its own, {place.action}",
        True,
    )
