"""Which settings and files may be secret, so that they stay on this machine.

A setting is recognized by its name or its text: secrets in a known form anywhere, and in addresses and the arguments of
programs also the names of secrets, headers, variables with a value, and long random words. Notices about the result
show the names of settings, and never a value.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import PurePath

_FILES = (
    *(".env", ".env.*", "*.env", ".netrc", "_netrc", ".npmrc", ".yarnrc*", ".pypirc", ".pgpass", ".my.cnf"),
    *(".git-credentials", ".credentials*", "credentials", "credentials.json", "auth.json", "secrets.*", "*token.json"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.ppk", "*.jks", "*.keystore", "*.kdbx"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "service-account*.json", "service_account*.json"),
)
"""Patterns of file names in lower case."""
_FOLDERS = frozenset({".aws", ".azure", ".docker", ".gnupg", ".kube", ".ssh"})

_LOGINS = (".http_headers", ".experimental_bearer_token")
"""What a model provider can lack: it refuses the requests then."""
_TABLES = ("env", "headers", "http_headers", "shell_environment_policy.set")
"""Tables whose values are secret whatever their names are."""
_VARIABLES = "env_http_headers"
"""The table whose values are names of variables."""
_WORDS = r"secret|passw(or)?d|passphrase|api[-_]?key|access[-_]?key|private[-_]?key|token|bearer|credential"
_NAME = re.compile(rf"(?i)({_WORDS}|authorization|cookie)s?$")
"""The name of a setting whose value is secret. Names of variables, such as ``bearer_token_env_var``, end otherwise."""
_PROGRAMS = ("args", "command", "notify")
_ADDRESSES = ("url", "endpoint")
"""The ends of the names of addresses."""

_SECRET_TEXT = re.compile(
    # Beginnings of keys: OpenAI, GitHub, GitLab, Slack, Stripe, Google, Amazon, SendGrid, Hugging Face, npm, PyPI.
    r"(?<![A-Za-z0-9])(sk-|github_pat_|glpat-|xox[a-z]-|xapp-|[rs]k_live_|AIza|ya29\.)[A-Za-z0-9_-]{8}"
    r"|(?<![A-Za-z0-9])(gh[a-z]_|AKIA|ASIA|SG\.|hf_|npm_|pypi-)[A-Za-z0-9]{12}"
    # JSON web tokens, private keys, `user:password@` in an address, and the values of Authorization headers.
    r"|(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}\."
    r"|-----BEGIN "
    r"|://[^/\s?#@]*:[^/\s?#]+@"
    r"|(?i:\b(bearer|basic|authorization:)\s+[A-Za-z0-9+/=._~-]{8})"
)
_LONG_WORD = r"(?=[\w-]*[A-Za-z])(?=[\w-]*[0-9])[\w-]{32}"
# Applies to the arguments of a program, one on each line, and to addresses.
_SECRET_ARGUMENT = re.compile(
    rf"(?i:{_WORDS}|authorization|cookie)"
    # Headers, `USER:PASSWORD`, the value of a variable, the user of an address, and the parameter of a signed one.
    r"|^(-H|--headers?\b)"
    r"|^(-u|--user)[\n =]?[^\n:-][^\n:]*:."
    r"|^[A-Z][A-Z0-9_]*=."
    r"|://[^/\s?#]+@"
    r"|(?i:[?&](key|sig|signature|auth|code|pwd)=)"
    # A long word with letters and digits, unless it is a part of a path.
    rf"|(://\S*[^\w-]|(?<![\w/-])){_LONG_WORD}",
    re.MULTILINE,
)


def is_secret_file(path: PurePath) -> bool:
    """Returns whether a file is named like one with secrets.

    Args:
        path: Its path, relative to the Codex home, or that of the file to which it links.
    """
    name = path.name.lower()
    return not _FOLDERS.isdisjoint(path.parts) or any(fnmatch.fnmatchcase(name, pattern) for pattern in _FILES)


def without_secrets(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns settings without those that may be secret, and the names of these.

    An MCP server that has one is removed as a whole, and so are lists, all hooks, and a model provider unless it only
    lacks a login.

    Args:
        settings: The content of ``config.toml``.
    """
    removed: list[str] = []
    return _without_secrets(settings, removed, ""), removed


def _without_secrets(table: Mapping[str, Any], removed: list[str], place: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{place}{key}"
        inner: list[str] = []
        part = value
        if _is_secret(name, key, value):
            inner = [name]
        elif isinstance(value, dict) and key not in ("hooks", _VARIABLES):
            part = _without_secrets(value, inner, f"{name}.")
        elif isinstance(value, list):
            for each in value:
                if isinstance(each, dict):
                    _without_secrets(each, inner, f"{name}.")
        if not inner or (isinstance(value, dict) and inner != [name] and _can_lack(place, inner)):
            kept[key] = part
            removed += inner
        else:
            removed.append(name)
    return kept


def _can_lack(place: str, removed: list[str]) -> bool:
    """Returns whether a table can be used without what was removed from it.

    An MCP server would start without it. A model provider without its address would send the conversation, and the
    key, to OpenAI.
    """
    if place == "model_providers.":
        return all(name.endswith(_LOGINS) for name in removed)
    return place != "mcp_servers."


def _is_secret(name: str, key: str, value: Any) -> bool:
    if isinstance(value, dict):
        is_secret_table = any(name == table or name.endswith(f".{table}") for table in _TABLES)
        return bool(value) and (is_secret_table or (key in ("hooks", _VARIABLES) and has_secret_text(value)))
    texts = [text for text in _texts(value) if text]
    if has_secret_text(value) or (texts and _NAME.search(key)):
        return True
    return key.endswith((*_PROGRAMS, *_ADDRESSES)) and bool(_SECRET_ARGUMENT.search("\n".join(texts)))


def has_secret_text(value: Any) -> bool:
    """Returns whether a text in a value is a secret in a known form."""
    return any(map(_SECRET_TEXT.search, _texts(value)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
