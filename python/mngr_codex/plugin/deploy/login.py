"""The login of a deployed Codex.

Codex's TUI reads its login from ``auth.json`` or from the variable ``CODEX_ACCESS_TOKEN``. It ignores API keys in the
environment (0.163, 0.171), so that of the deploying user becomes an ``auth.json``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

from mngr_codex.plugin.carry.login import API_KEY_VARIABLES, AUTH, Kind, kind_of, of_api_key
from mngr_codex.plugin.deploy.user_files import DESTINATION, is_readable
from mngr_codex.plugin.home import login
from mngr_codex.plugin.home.config_toml import merge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mngr_codex.plugin.deploy.settings import DeployedTypes

_TOKEN = "CODEX_ACCESS_TOKEN"
_OPENAI_KEY = "OPENAI_API_KEY"


def login_file(codex_home: Path, types: DeployedTypes, environment: Mapping[str, str]) -> dict[Path, Path | str]:
    """Returns the login for a deployment, and logs what the user should know about it.

    Args:
        codex_home: The user's Codex home.
        types: The agent types that may be created.
        environment: The environment of mngr.

    Returns:
        The user's ``auth.json``, or one made from an API key in the environment, by its destination. Empty if there is
        no login, or if no type needs one.
    """
    path = codex_home / AUTH
    if _exists(path):
        if not is_readable(path):
            return {}
        if _is_renewed(path):
            logger.warning(
                "your ChatGPT login for Codex is deployed ({}). Codex renews it from time to time, and each renewal "
                "invalidates the previous one, so this machine or the deployed one can be logged out\n"
                "hint: deploy a login of its own, with an API key: run `codex login --with-api-key` in another "
                "CODEX_HOME, and deploy with that",
                path,
            )
        return {DESTINATION / AUTH: path}
    if not any(login.needs_login(config) for config in _configs(codex_home, types)):
        return {}
    for name in _key_variables(types):
        if key := environment.get(name):
            logger.info("deploying the API key of {} as the login of Codex: {}/{}", name, DESTINATION, AUTH)
            return {DESTINATION / AUTH: of_api_key(key)}
    if not types.is_known and environment.get(_OPENAI_KEY):
        logger.info(
            "the key of {} is not deployed as the login of Codex, since the deployed agent type is not known\nhint: "
            "name the type, as in `mngr schedule add NAME --args 'NAME codex'`, or set CODEX_API_KEY",
            _OPENAI_KEY,
        )
    if types.is_known and not environment.get(_TOKEN):
        logger.warning(
            "no login for Codex is deployed: {} does not exist, and {} are not set\nhint: run `codex login`{}",
            path,
            " and ".join(API_KEY_VARIABLES),
            login.keyring_hint(_user_config(codex_home), str(codex_home)),
        )
    return {}


def variables(codex_home: Path, types: DeployedTypes, environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that a deployed Codex needs and that the environment has.

    Args:
        codex_home: The user's Codex home.
        types: The agent types that may be created.
        environment: The environment of mngr.
    """
    names = {name for config in _configs(codex_home, types) for name in _provider_variables(config)}
    has_login = _exists(codex_home / AUTH) or any(environment.get(name) for name in _key_variables(types))
    if not has_login and any(login.needs_login(config) for config in _configs(codex_home, types)):
        names.add(_TOKEN)
    return {name: environment[name] for name in sorted(names) if environment.get(name)}


def _key_variables(types: DeployedTypes) -> tuple[str, ...]:
    """Returns the variables whose key is deployed. ``OPENAI_API_KEY`` can belong to a program other than Codex."""
    return tuple(name for name in API_KEY_VARIABLES if types.is_known or name != _OPENAI_KEY)


def _exists(path: Path) -> bool:
    """Returns whether there is a login: Codex ignores an empty file."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _is_renewed(path: Path) -> bool:
    """Returns whether a login contains a refresh token, which becomes invalid when another copy is renewed."""
    try:
        return kind_of(path.read_bytes()) is Kind.RENEWED
    except OSError:
        return False


def _configs(codex_home: Path, types: DeployedTypes) -> Iterator[dict[str, Any]]:
    """Yields the settings that Codex would have in agents of each type, as far as they concern the model provider."""
    user = _user_config(codex_home)
    for config in types.configs:
        overrides = config.config_overrides if isinstance(config.config_overrides, dict) else {}
        yield merge(user if config.use_user_config else {}, overrides)


def _user_config(codex_home: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((codex_home / "config.toml").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}


def _provider_variables(config: Mapping[str, Any]) -> Iterator[str]:
    """Yields the names of the variables that the settings of the model provider refer to."""
    providers = config.get("model_providers")
    provider = providers.get(config.get("model_provider")) if isinstance(providers, dict) else None
    if not isinstance(provider, dict):
        return
    headers = provider.get("env_http_headers")
    names = [provider.get("env_key"), *(headers.values() if isinstance(headers, dict) else ())]
    yield from (name for name in names if isinstance(name, str))
