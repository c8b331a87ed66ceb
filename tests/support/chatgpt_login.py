"""A ChatGPT login that no server knows, and the models that a Codex was built with."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def chatgpt_login(seconds: int = 86_400) -> str:
    """Returns the text of an `auth.json` whose tokens Codex takes for valid.

    Args:
        seconds: How long the access token is valid from now on; negative if it has expired.
    """
    account = {"chatgpt_account_id": "account", "chatgpt_plan_type": "plus", "chatgpt_user_id": "user"}
    claims = {"exp": int(time.time()) + seconds, "email": "a@example.invalid", "https://api.openai.com/auth": account}
    parts = ({"alg": "none"}, claims)
    token = ".".join([base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts])
    tokens = {"id_token": f"{token}.s", "access_token": f"{token}.s", "refresh_token": "r", "account_id": "account"}
    refreshed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps({"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": refreshed})


def built_in_models(codex: Path | str, home: Path) -> list[Json]:
    """Returns the models that a Codex was built with, in the form in which its server sends them.

    Args:
        codex: The path of the Codex.
        home: A folder for its home.
    """
    home.mkdir(exist_ok=True)
    environment = {"HOME": str(home), "CODEX_HOME": str(home), "PATH": os.environ["PATH"]}
    command = [codex, "debug", "models", "--bundled"]
    listed = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout
    models: list[Json] = json.loads(listed)["models"]
    return models


def offers(codex: Path | str, home: Path, *names: str) -> list[Json]:
    """Returns these models, the first of which is the account's default.

    Args:
        codex: The path of a Codex, from one of whose models the rest is taken.
        home: A folder for its home.
        names: The names of the models.
    """
    usual = next(model for model in built_in_models(codex, home) if model["visibility"] == "list")
    return [{**usual, "slug": name, "display_name": name, "priority": number} for number, name in enumerate(names)]
