"""What two copies of a ChatGPT login do, with the real Codex and a server that renews tokens as OpenAI's does."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.chatgpt_login import chatgpt_login

EXEC = ("exec", "--skip-git-repo-check", "hello")
REUSED = "Your access token could not be refreshed because your refresh token was already used."


class TokenServer:
    """Accepts each refresh token once, as OpenAI's server does, and answers requests with a valid access token."""

    def __init__(self) -> None:
        self.valid, self.used, self.revoked = {"r"}, set[str](), list[str]()
        self.access: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self._answer(404, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.path == "/oauth/token":
                    self._answer(*outer.renew(json.loads(body)["refresh_token"]))
                elif self.path == "/oauth/revoke":
                    outer.revoked.append(json.loads(body)["token"])
                    self._answer(200, {})
                elif (self.headers.get("authorization") or "").removeprefix("Bearer ") in outer.access:
                    self._stream()
                else:
                    self._answer(401, {"error": {"code": "token_expired"}})

            def _answer(self, status: int, content: object) -> None:
                self._send(status, json.dumps(content), "application/json")

            def _stream(self) -> None:
                text = {"type": "output_text", "text": "hi"}
                item = {"type": "message", "role": "assistant", "id": "m", "content": [text]}
                usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
                events: list[dict[str, Any]] = [
                    {"type": "response.output_item.done", "item": item},
                    {"type": "response.completed", "response": {"id": "r", "usage": usage}},
                ]
                body = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)
                self._send(200, body, "text/event-stream")

            def _send(self, status: int, body: str, kind: str) -> None:
                content = body.encode()
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def renew(self, token: str) -> tuple[int, object]:
        if token in self.used:
            return 401, {"error": {"code": "refresh_token_reused"}}
        if token not in self.valid:
            return 401, {"error": {"code": "refresh_token_invalidated"}}
        self.used.add(token)
        new = f"r{len(self.used)}"
        self.valid.add(new)
        access = json.loads(chatgpt_login())["tokens"]["access_token"] + new
        self.access.add(access)
        return 200, {"id_token": access, "access_token": access, "refresh_token": new}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[TokenServer]:
    running = TokenServer()
    yield running
    running.close()


class Place:
    """A Codex home with a login."""

    def __init__(self, folder: Path, codex: str, server: TokenServer) -> None:
        self.folder, self.codex, self.server = folder, codex, server
        folder.mkdir()
        config = f"""\
model_provider = "p"
cli_auth_credentials_store = "file"
analytics = {{ enabled = false }}
features = {{ apps = false, plugins = false }}
[model_providers.p]
name = "p"
base_url = "{server.url}/v1"
wire_api = "responses"
requires_openai_auth = true
request_max_retries = 0
stream_max_retries = 0
"""
        (folder / "config.toml").write_text(config)

    @property
    def auth(self) -> Path:
        return self.folder / "auth.json"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "HOME": str(self.folder),
            "CODEX_HOME": str(self.folder),
            "PATH": "/usr/bin:/bin",
            "CODEX_REFRESH_TOKEN_URL_OVERRIDE": f"{self.server.url}/oauth/token",
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
            "NO_PROXY": "127.0.0.1",
        }
        command = [self.codex, *arguments]
        return subprocess.run(
            command,
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def refresh_token(self) -> str:
        token: str = json.loads(self.auth.read_text())["tokens"]["refresh_token"]
        return token


def test_the_copy_that_is_renewed_second_is_logged_out(tmp_path: Path, codex: str, server: TokenServer) -> None:
    """A shared file is read again instead, and logging out of one copy revokes the token of all."""
    first, second, shared = (Place(tmp_path / name, codex, server) for name in ("first", "second", "shared"))
    for place in (first, second):
        place.auth.write_text(chatgpt_login(seconds=-60))
    shared.auth.symlink_to(first.auth)
    assert first.run(*EXEC).returncode == 0 and first.refresh_token() == "r1"
    for _ in range(2):
        failed = second.run(*EXEC)
        assert failed.returncode == 1 and REUSED in failed.stderr
    assert second.refresh_token() == "r"
    assert shared.run(*EXEC).returncode == 0 and shared.auth.is_symlink()
    second.auth.write_text(first.auth.read_text())
    second.run("logout")
    assert server.revoked == ["r1"] and first.refresh_token() == "r1"
