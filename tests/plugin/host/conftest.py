"""mngr's host behind an ssh connection that can break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.line_proxy import LineProxy
from tests.support.ssh_server import SshServer, ssh_server


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[SshServer]:
    """The ssh server of the host."""
    with ssh_server(tmp_path / "remote") as running:
        yield running


@pytest.fixture
def proxy(sshd: SshServer) -> Iterator[LineProxy]:
    """The line to the host."""
    with LineProxy(sshd.port) as line:
        yield line


@pytest.fixture
def remote(home: Path, sshd: SshServer, proxy: LineProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """mngr's host ``remote`` behind the proxy, with a connection."""
    pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")
    from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
    from imbue.mngr.api.providers import get_provider_instance
    from imbue.mngr.config.loader import load_config
    from imbue.mngr.main import get_or_create_plugin_manager
    from imbue.mngr.primitives import HostName, ProviderInstanceName

    profile = home / ".mngr" / "profiles" / "tests"
    profile.mkdir(parents=True)
    (home / ".mngr" / "config.toml").write_text('profile = "tests"\n')
    (profile / "settings.toml").write_text(
        'is_allowed_in_pytest = true\nenabled_backends = ["local", "ssh"]\n' + sshd.settings(proxy.port)
    )
    monkeypatch.chdir(home)
    with ConcurrencyGroup(name="tests") as group:
        context = load_config(get_or_create_plugin_manager(), group)
        host: Any = get_provider_instance(ProviderInstanceName("there"), context).get_host(HostName("remote"))
        assert host.execute_idempotent_command("true").success
        yield host
        host.disconnect()
