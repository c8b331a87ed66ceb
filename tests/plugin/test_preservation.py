"""Nothing of a destroyed agent is lost: its files are here, on its host, or the agent is not destroyed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.api import preservation as mngr_preservation
from imbue.mngr.api.preservation import discover_preserved_agent_archives
from imbue.mngr.errors import CorruptedAgentDataError, HostConnectionError, MngrError
from imbue.mngr.interfaces.data_types import FileType, VolumeFile
from imbue.mngr.primitives import (
    AgentId,
    AgentName,
    AgentTypeName,
    DiscoveredAgent,
    HostId,
    HostName,
    OutputFormat,
    ProviderInstanceName,
)
from loguru import logger

from mngr_codex import plugin
from mngr_codex.plugin import paths, preservation, set_aside, unfetched
from mngr_codex.plugin.agent import CodexAgent
from mngr_codex.plugin.cli import recover as recover_command

ROLLOUT = f"{paths.SESSIONS}/2026/12/01/rollout-2026-12-01T10-00-00-{'0' * 8}.jsonl"
FILES = {
    "logs/codex_transcript/events.jsonl": b"raw\n" * 1000,
    "events/codex/common_transcript/events.jsonl": b"common\n" * 100,
    ROLLOUT: b"line\n" * 5000,
    f"{paths.ARCHIVED_SESSIONS}/rollout-with space.jsonl": b"old\n",
    paths.ROOT_SESSION: b"0000",
}
"""What is preserved."""


class Cut(HostConnectionError):
    """The line to the host is cut."""


class Host:
    """A host whose commands run in a folder of this machine, until its line is cut."""

    def __init__(self, folder: Path, near: Path, *, is_local: bool) -> None:
        self.folder, self.near = folder, near
        self.id = HostId.generate()
        self.is_local = is_local
        self.host_dir = folder / "mngr"
        self.agents: list[Any] = []
        self.done: list[str] = []
        self.shell = ["sh", "-c"]
        #: The number of commands until the line is cut, whether the last one still has its effect, and for how many
        #: commands it stays cut.
        self.cut_at: int | None = None
        self.has_effect = False
        self.cut_for = 1_000_000
        self.error: Exception | None = None
        self.offline: HostWithoutDisk | None = None
        self.rsync_options = ""

    def get_name(self) -> HostName:
        return HostName("far")

    def get_provider_name(self) -> ProviderInstanceName:
        return ProviderInstanceName("ssh")

    def get_agents(self) -> list[Any]:
        return self.run("list", lambda: self.agents)

    def stop_agents(self, ids: list[AgentId]) -> None:
        self.run("stop", lambda: None)

    def disconnect(self) -> None:
        self.done.append("disconnect")

    def execute_idempotent_command(self, command: str, timeout_seconds: float | None = None) -> Any:
        def run() -> Any:
            if self.error:
                raise self.error
            ran = subprocess.run([*self.shell, command], capture_output=True, text=True, timeout=timeout_seconds)
            return SimpleNamespace(success=ran.returncode == 0, stdout=ran.stdout, stderr=ran.stderr)

        return self.run("command", run)

    def to_offline_host(self) -> Any:
        if self.offline is None:
            raise NotImplementedError
        return self.offline

    def discover_agents(self) -> list[DiscoveredAgent]:
        """Returns the agents as mngr does, which skips those whose ``data.json`` is damaged."""
        return [
            DiscoveredAgent(
                host_id=self.id,
                agent_id=agent.id,
                agent_name=agent.name,
                provider_name=self.get_provider_name(),
                certified_data={"type": "codex"},
            )
            for agent in self.agents
        ]

    def load_agents_from_refs(self, references: list[DiscoveredAgent]) -> list[Any]:
        return [agent for agent in self.agents if agent.id in [each.agent_id for each in references]]

    def list_directory(self, path: Path, *, recursive: bool = False) -> list[VolumeFile]:
        return [
            VolumeFile(
                path=str(found),
                file_type=FileType.DIRECTORY if found.is_dir() else FileType.FILE,
                mtime=0,
                size=found.stat().st_size,
            )
            for found in path.glob("**/*" if recursive else "*")
        ]

    def path_exists(self, path: Path) -> bool:
        return path.exists()

    def read_file(self, path: Path) -> bytes:
        return path.read_bytes()

    def build_source_env_prefix(self, _: Any) -> str:
        return ""

    def copy_from(self, source: Path, target: Path) -> None:
        """Copies a folder, as the near host does with rsync."""

        def run() -> None:
            command = ["rsync", "-rlpt", *shlex.split(self.rsync_options), f"{source}/", f"{target}/"]
            ran = subprocess.run(command, capture_output=True, text=True)
            if ran.returncode:
                raise MngrError(f"rsync failed: {ran.stderr}")

        self.run("copy", run)

    def run[T](self, name: str, action: Callable[[], T]) -> T:
        number = len([each for each in self.done if each != "disconnect"])
        self.done.append(name)
        if self.cut_at is not None and self.cut_at <= number < self.cut_at + self.cut_for:
            if number == self.cut_at and self.has_effect:
                action()
            raise Cut("the line is cut")
        return action()


class HostWithoutDisk:
    """A host that is not running, and whose files cannot be read."""

    is_local = False

    def __init__(self, host: Host) -> None:
        self.online, self.id, self.host_dir = host, host.id, host.host_dir

    def get_name(self) -> HostName:
        return self.online.get_name()

    def get_provider_name(self) -> ProviderInstanceName:
        return self.online.get_provider_name()

    def discover_agents(self) -> list[DiscoveredAgent]:
        return self.online.discover_agents()


class StoppedHost(HostWithoutDisk):
    """A host that is not running, whose disk mngr can read."""

    def path_exists(self, path: Path) -> bool:
        return path.exists()

    def read_file(self, path: Path) -> bytes:
        return path.read_bytes()

    def list_directory(self, path: Path, *, recursive: bool = False) -> list[VolumeFile]:
        return self.online.list_directory(path, recursive=recursive)


@pytest.fixture
def make_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Host]:
    """Creates a host with an agent."""
    near = tmp_path / "near"
    near.mkdir()
    config = SimpleNamespace(default_host_dir=near, agent_types={}, disabled_plugins=frozenset())
    mngr_ctx = SimpleNamespace(config=config, profile_dir=tmp_path / "profile")
    monkeypatch.setattr(preservation, "has_class", lambda agent_type, *_: agent_type == "codex")
    for module in (preservation, set_aside, mngr_preservation):
        monkeypatch.setattr(module, "OnlineHostInterface", Host, raising=False)
        monkeypatch.setattr(module, "HostFileReadInterface", (Host, StoppedHost), raising=False)
    monkeypatch.setattr(CodexAgent, "_get_agent_dir", lambda self: self.host.host_dir / "agents" / str(self.id))
    monkeypatch.setattr(CodexAgent, "get_labels", lambda _: {})
    monkeypatch.setattr(set_aside, "RETRY_SECONDS", 0.0)

    def make(*, is_local: bool = False, script: str | None = None, preserve: bool = True) -> Host:
        host = Host(tmp_path / "far", near, is_local=is_local)

        def copy_directory(source: Host, path: Path, target: Path, *, extra_args: str = "") -> None:
            source.rsync_options = extra_args
            target.mkdir(parents=True, exist_ok=True)
            source.copy_from(path, target)

        local = SimpleNamespace(copy_directory=copy_directory)
        monkeypatch.setattr(set_aside, "get_local_host", lambda _: local)
        monkeypatch.setattr(mngr_preservation, "_get_local_online_host", lambda _: local)
        add_agent(host, mngr_ctx, script=script, preserve=preserve)
        return host

    return make


def add_agent(
    host: Host, mngr_ctx: Any, *, script: str | None = None, preserve: bool = True, replaces: bool = True
) -> None:
    agent = CodexAgent.model_construct(
        id=AgentId.generate(),
        name=AgentName("t"),
        agent_type=AgentTypeName("codex"),
        agent_config=SimpleNamespace(preserve_on_destroy=preserve, emit_common_transcript=True),
        mngr_ctx=mngr_ctx,
        host=host,
    )
    host.agents = [*([] if replaces else host.agents), agent]
    for path, content in FILES.items():
        file = state(host, -1) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    program = state(host, -1) / paths.PROGRAM
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script or 'exit 0'}\n")
    program.chmod(0o755)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """The warnings of the test."""
    shown: list[str] = []
    handler = logger.add(shown.append, level="WARNING", format="{message}")
    yield shown
    logger.remove(handler)


def state(host: Host, number: int = 0) -> Path:
    return host.host_dir / "agents" / str(host.agents[number].id)


def destroy(host: Host) -> bool:
    """Destroys the agent as mngr does; returns whether that was not prevented. The state directory is deleted later."""
    agent = host.agents[0]
    object.__setattr__(agent, "__pydantic_private__", None)
    agent.model_post_init(None)
    try:
        plugin.on_before_agent_destroy(cast("Any", agent), cast("Any", host))
    except MngrError as error:
        if "cannot preserve" not in str(error) or "\nhint: " not in str(error):
            raise
        return False
    try:
        agent.on_destroy(host)
    except MngrError:
        pytest.fail("the files were given up")
    shutil.rmtree(state(host))
    return True


def archive(host: Host) -> Path:
    (found,) = discover_preserved_agent_archives(host.near)
    return found.path


def preserved_here(host: Host) -> dict[str, bytes]:
    folder = archive(host)
    return {path: (folder / path).read_bytes() for path in FILES if (folder / path).exists()}


def left_there(host: Host) -> list[Path]:
    return list((host.host_dir / "preserved").glob("set_aside/**/*"))


def recover(host: Host) -> None:
    for parts in set_aside.by_agent(set_aside.find(cast("Any", host))):
        set_aside.bring_here(cast("Any", host), host.agents[0].mngr_ctx, parts, preservation.preserved_items())


def check_archive(host: Host) -> None:
    assert preserved_here(host) == FILES
    folder = archive(host)
    modes = {path.stat().st_mode & 0o077 for path in [folder, *folder.rglob("*")] if path.name != "manifest.json"}
    assert modes == {0}
    items = {each["rel_path"]: each["outcome"] for each in json.loads((folder / "manifest.json").read_text())["items"]}
    assert items.pop(paths.ROLLOUT) == items.pop(paths.ROLLOUTS) == "missing"
    assert set(items.values()) == {"copied"}


@pytest.fixture(params=["sh", "busybox"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The command that runs a script, with GNU's programs or with those of busybox."""
    if request.param == "sh":
        return ["sh", "-c"]
    if shutil.which("busybox") is None:
        pytest.skip("busybox is not installed (apt install busybox-static)")
    applets = tmp_path / "applets"
    applets.mkdir()
    subprocess.run(["busybox", "--install", "-s", applets], check=True)
    return ["env", f"PATH={applets}", "sh", "-c"]


def test_a_remote_agent_is_preserved_with_few_commands(
    make_host: Callable[..., Host], warnings: list[str], shell: list[str]
) -> None:
    host = make_host(script='echo "$MNGR_CONVERT_LOCK_TIMEOUT $*" >"$0.called"; touch "${0%/*}/../codex_root_session"')
    host.shell = shell
    assert destroy(host)
    assert host.done == ["stop", "command", "copy", "command"] and not warnings
    check_archive(host)
    assert not left_there(host)


def test_files_are_set_aside_as_links(make_host: Callable[..., Host]) -> None:
    """They cost no space, and what Codex still writes is in both."""
    host = make_host()
    host.cut_at = 2
    inode = (state(host) / ROLLOUT).stat().st_ino
    assert destroy(host)
    (there,) = (path for path in left_there(host) if path.name == Path(ROLLOUT).name)
    assert there.stat().st_ino == inode
    root = host.host_dir / "preserved/set_aside"
    assert {path.stat().st_mode & 0o077 for path in root.glob("*")} == {0}


@pytest.mark.parametrize("has_effect", [False, True], ids=["lost", "answer lost"])
@pytest.mark.parametrize("cut_for", [1, 1_000_000], ids=["for a moment", "for good"])
def test_a_cut_at_any_command_loses_nothing(
    make_host: Callable[..., Host], warnings: list[str], has_effect: bool, cut_for: int
) -> None:
    host = make_host()
    agents = []
    for cut_at in range(6):
        if cut_at:
            add_agent(host, host.agents[0].mngr_ctx)
        host.done.clear()
        host.cut_at, host.has_effect, host.cut_for = cut_at, has_effect, cut_for
        is_destroyed = destroy(host)
        commands = len(host.done)
        host.cut_at = None
        if not is_destroyed:
            assert all((state(host) / path).read_bytes() == content for path, content in FILES.items())
            assert destroy(host)
        recover(host)
        check_archive(host)
        assert [each.folder for each in set_aside.find(cast("Any", host))] == []
        agents.append((is_destroyed, commands))
        shutil.rmtree(archive(host))
    # The later cuts come after the last command.
    assert agents[-1] == (True, 4)
    assert [is_destroyed for is_destroyed, _ in agents] == [False, False, True, True, True, True]


def test_a_line_that_comes_back_is_used_again(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    monkeypatch.setattr(set_aside, "RETRY_SECONDS", 60.0)
    monkeypatch.setattr("time.sleep", lambda _: None)
    for cut_at in range(4):
        host = make_host()
        host.cut_at, host.cut_for = cut_at, 3
        assert destroy(host)
        assert "disconnect" in host.done or cut_at == 3
        check_archive(host)
        assert all("cannot remove" in each for each in warnings)
        shutil.rmtree(archive(host))


def test_each_try_is_announced_in_one_line(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    monkeypatch.setattr(set_aside, "RETRY_SECONDS", 60.0)
    monkeypatch.setattr("time.sleep", lambda _: None)
    host = make_host()
    errors: list[Exception] = [
        MngrError("rsync failed: connection closed\nrsync error: code 12\n"),
        HostConnectionError("[Errno None] Unable to connect to port 22 on 10.0.0.1"),
    ]

    def fail() -> None:
        if errors:
            raise errors.pop(0)

    shown: list[str] = []
    handler = logger.add(shown.append, level="INFO", format="{message}")
    set_aside.retried(fail, cast("Any", host), "cannot copy it")
    logger.remove(handler)
    assert [each.rstrip("\n") for each in shown] == [
        "cannot copy it: rsync failed: connection closed; rsync error: code 12; trying again for at least 60 s",
        "cannot copy it: Unable to connect to port 22 on 10.0.0.1; trying again for at least 60 s",
    ]


def test_what_stays_on_the_host_is_named_and_recovered(make_host: Callable[..., Host], warnings: list[str]) -> None:
    host = make_host()
    host.cut_at = 2
    assert destroy(host)
    (warning,) = warnings
    assert "t@far" in warning and str(host.host_dir / "preserved/set_aside") in warning
    # mngr cannot delete the agent over a line that is cut.
    again = "and `mngr destroy t@far.ssh` again if `mngr list` still shows the agent"
    assert f"\nhint: run `mngr codex recover far.ssh`, {again}" in warning
    items = json.loads((archive(host) / "manifest.json").read_text())["items"]
    assert {each["outcome"] for each in items} == {"error", "missing"}
    host.cut_at = None
    recover(host)
    check_archive(host)


def test_a_destroy_that_was_killed_is_completed(make_host: Callable[..., Host], warnings: list[str]) -> None:
    """Files that are only in the earlier folder are kept, and later ones count more."""
    host = make_host()
    host.cut_at = 2
    host.agents[0].secure(host)
    (state(host) / paths.ROOT_SESSION).unlink()
    with (state(host) / ROLLOUT).open("ab") as rollout:
        rollout.write(b"and more\n")
    (state(host) / "events/codex/common_transcript/events.jsonl").unlink()
    (state(host) / "events/codex/common_transcript/events.jsonl").write_bytes(b"replaced\n")
    host.cut_at = None
    assert destroy(host)
    expected = {
        **FILES,
        ROLLOUT: FILES[ROLLOUT] + b"and more\n",
        "events/codex/common_transcript/events.jsonl": b"replaced\n",
    }
    assert preserved_here(host) == expected
    assert not set_aside.find(cast("Any", host))


def test_two_destroys_at_once(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    """One finds that the other has brought everything here."""
    monkeypatch.setattr(set_aside, "RETRY_SECONDS", 5.0)
    host = make_host()
    run = host.copy_from

    def copy(source: Path, target: Path) -> None:
        host.copy_from = run  # type: ignore[method-assign]
        set_aside.remove(cast("Any", host), set_aside.find(cast("Any", host)))
        subprocess.run(["cp", "-r", f"{state(host)}/.", target], check=True)
        run(source, target)

    host.copy_from = copy  # type: ignore[method-assign]
    assert destroy(host)
    assert preserved_here(host) == FILES and not set_aside.find(cast("Any", host)) and not warnings


def test_a_file_that_was_not_replaced_is_no_copy_even_if_it_has_the_size(
    make_host: Callable[..., Host], warnings: list[str]
) -> None:
    host = make_host()
    host.cut_at = 2
    host.agents[0].secure(host)
    host.cut_at = None
    (archived,) = (host.near / "preserved").glob("t--*")
    for path, content in FILES.items():
        (archived / path).parent.mkdir(parents=True, exist_ok=True)
        (archived / path).write_bytes(b"1" * len(content))
        os.utime(archived / path, (0, 0))
    run = host.copy_from
    host.copy_from = lambda *_: (_ for _ in ()).throw(MngrError("rsync failed"))  # type: ignore[method-assign]
    with pytest.raises(MngrError, match="rsync failed"):
        recover(host)
    host.copy_from = run  # type: ignore[method-assign]
    assert set_aside.find(cast("Any", host))
    recover(host)
    assert preserved_here(host) == FILES


@pytest.mark.parametrize("is_local", [True, False])
def test_damaged_data_of_an_agent_costs_its_labels(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, warnings: list[str], is_local: bool
) -> None:
    def fail(agent: Any) -> None:
        raise CorruptedAgentDataError(agent.id, state(host) / "data.json", ValueError("damaged"))

    host = make_host(is_local=is_local)
    monkeypatch.setattr(CodexAgent, "get_labels", fail)
    assert destroy(host)
    assert preserved_here(host) == FILES
    assert all("cannot read the labels of agent t" in each for each in warnings)


def test_an_agent_without_files_is_destroyed_even_if_nothing_can_be_set_aside(
    make_host: Callable[..., Host], warnings: list[str]
) -> None:
    host = make_host()
    (host.host_dir / "preserved").write_bytes(b"not a folder")
    for path in FILES:
        (state(host) / path).unlink()
    for folder in ("logs", "events", "plugin"):
        shutil.rmtree(state(host) / folder)
    assert destroy(host)


def test_a_local_folder_that_cannot_be_listed_keeps_the_agent(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host(is_local=True)
    host.copy_from = lambda *_: (_ for _ in ()).throw(MngrError("Permission denied"))  # type: ignore[method-assign]
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).startswith(str(state(host) / paths.SESSIONS / "2026")):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert not destroy(host)


def test_a_full_disk_here_leaves_the_files_there(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    """It is not tried again."""
    monkeypatch.setattr(set_aside, "RETRY_SECONDS", 60.0)
    host = make_host()
    run = host.copy_from

    def copy(source: Path, target: Path) -> None:
        (target / "events/codex/common_transcript").mkdir(parents=True)
        (target / "events/codex/common_transcript/events.jsonl").write_bytes(b"com")
        raise MngrError("rsync: write failed: No space left on device (28)")

    host.copy_from = copy  # type: ignore[method-assign]
    assert destroy(host)
    (warning,) = warnings
    assert "No space left on device" in warning
    host.copy_from = run  # type: ignore[method-assign]
    recover(host)
    check_archive(host)


def test_a_full_disk_there_does_not_prevent_copying(make_host: Callable[..., Host], warnings: list[str]) -> None:
    host = make_host()
    (host.host_dir / "preserved").write_bytes(b"not a folder")
    assert destroy(host)
    check_archive(host)


def test_an_agent_that_can_be_preserved_nowhere_is_kept(make_host: Callable[..., Host]) -> None:
    host = make_host()
    (host.host_dir / "preserved").write_bytes(b"not a folder")
    host.copy_from = lambda *_: (_ for _ in ()).throw(MngrError("rsync failed"))  # type: ignore[method-assign]
    assert not destroy(host)
    assert all((state(host) / path).exists() for path in FILES)


def test_a_host_is_not_destroyed_with_files_that_are_only_there(
    make_host: Callable[..., Host], warnings: list[str]
) -> None:
    host = make_host()
    host.cut_at = 2
    assert destroy(host)
    mngr_ctx = host.agents[0].mngr_ctx
    host.agents = []
    host.done.clear()
    host.cut_at = 2
    with pytest.raises(MngrError, match=r"kept on host far\.ssh: .*\nhint: start .* `mngr codex recover far\.ssh`"):
        preservation.secure_host(cast("Any", host), mngr_ctx, CodexAgent)
    host.cut_at = None
    preservation.secure_host(cast("Any", host), mngr_ctx, CodexAgent)
    (found,) = discover_preserved_agent_archives(host.near)
    assert (found.path / ROLLOUT).read_bytes() == FILES[ROLLOUT]


def test_agents_are_preserved_before_their_host_is_destroyed(make_host: Callable[..., Host]) -> None:
    host = make_host()
    host.agents.append(SimpleNamespace(id=AgentId.generate()))
    preservation.secure_host(cast("Any", host), host.agents[0].mngr_ctx, CodexAgent)
    check_archive(host)


def left_on(host: Host) -> Any:
    """Destroys the host's agent so that its files stay there; returns mngr's context."""
    host.cut_at = len([each for each in host.done if each != "disconnect"]) + 2
    assert destroy(host)
    host.cut_at = None
    mngr_ctx = host.agents[0].mngr_ctx
    host.agents = []
    return mngr_ctx


@pytest.mark.parametrize("kind", ["stopped", "unreachable", "unreachable without an offline view"])
def test_a_host_that_cannot_be_read_is_not_destroyed_if_files_are_only_there(
    make_host: Callable[..., Host], kind: str, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    host = make_host()
    offline = HostWithoutDisk(host)
    destroyed: Any = offline if kind == "stopped" else host
    mngr_ctx = left_on(host)
    if kind != "stopped":
        host.cut_at = 0
        host.offline = None if "without" in kind else offline
    with pytest.raises(MngrError, match=r"(?s)host far\.ssh.*\nhint: .*preserve_on_destroy=false") as raised:
        plugin.on_before_host_destroy(destroyed, mngr_ctx)
    if "without" not in kind:
        assert "(t)" in str(raised.value) and "mngr codex recover far.ssh" in str(raised.value)
    with monkeypatch.context() as patched:
        patched.setattr(preservation, "_is_given_up", lambda *_: True)
        plugin.on_before_host_destroy(destroyed, mngr_ctx)
    # Another host is not affected.
    other = HostWithoutDisk(host)
    other.id = HostId.generate()
    plugin.on_before_host_destroy(cast("Any", other), mngr_ctx)
    plugin.on_host_destroyed(cast("Any", other), mngr_ctx)
    with pytest.raises(MngrError):
        plugin.on_before_host_destroy(destroyed, mngr_ctx)
    plugin.on_host_destroyed(cast("Any", offline), mngr_ctx)
    plugin.on_before_host_destroy(cast("Any", offline), mngr_ctx)


def test_a_host_whose_files_were_fetched_can_be_destroyed_unread(
    make_host: Callable[..., Host], warnings: list[str]
) -> None:
    host = make_host()
    mngr_ctx = left_on(host)
    host.agents = [SimpleNamespace(mngr_ctx=mngr_ctx)]
    recover(host)
    host.agents = []
    plugin.on_before_host_destroy(cast("Any", HostWithoutDisk(host)), mngr_ctx)


def test_an_agent_is_kept_if_it_cannot_be_noted_that_its_files_are_only_there(
    make_host: Callable[..., Host], tmp_path: Path
) -> None:
    host = make_host()
    (tmp_path / "profile").write_bytes(b"not a folder")
    host.cut_at = 2
    with pytest.raises(MngrError, match="cannot note in"):
        plugin.on_before_agent_destroy(host.agents[0], cast("Any", host))


def test_a_damaged_note_counts(make_host: Callable[..., Host], tmp_path: Path, warnings: list[str]) -> None:
    host = make_host()
    mngr_ctx = left_on(host)
    (note,) = (tmp_path / "profile").rglob("*.json")
    note.write_bytes(b"{")
    with pytest.raises(MngrError, match=note.stem):
        plugin.on_before_host_destroy(cast("Any", HostWithoutDisk(host)), mngr_ctx)


DAMAGED = [b"", b"{", b"[]", b'{"agent_id": 7}', b"\xff\x00\n@ /etc\n= {}\n7 ./x\n", b"[" * 100_000, None]


@pytest.mark.parametrize("content", DAMAGED, ids=[repr(each)[:20] for each in DAMAGED])
@pytest.mark.parametrize("is_running", [True, False])
def test_a_damaged_file_about_an_agent_affects_nothing_but_its_labels(
    make_host: Callable[..., Host], warnings: list[str], content: bytes | None, is_running: bool
) -> None:
    host = make_host()
    add_agent(host, host.agents[0].mngr_ctx, replaces=False)
    ids = {agent.id for agent in host.agents}
    for _ in range(2):
        mngr_ctx = host.agents[0].mngr_ctx
        host.cut_at = len([each for each in host.done if each != "disconnect"]) + 2
        assert destroy(host)
        host.cut_at = None
        host.agents.pop(0)
    file = next((host.host_dir / "preserved/set_aside").glob("*/agent.json"))
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    warnings.clear()
    plugin.on_before_host_destroy(cast("Any", host if is_running else StoppedHost(host)), mngr_ctx)
    (warning,) = (each for each in warnings if "damaged" in each)
    assert str(file) in warning and "agent t" in warning
    archives = discover_preserved_agent_archives(host.near)
    assert {each.agent_id for each in archives} == ids
    assert all((each.path / ROLLOUT).read_bytes() == FILES[ROLLOUT] for each in archives)


def test_nothing_is_written_outside_of_the_archive_of_a_hostile_host(
    make_host: Callable[..., Host], tmp_path: Path, warnings: list[str]
) -> None:
    host = make_host()
    mngr_ctx = left_on(host)
    (folder,) = (host.host_dir / "preserved/set_aside").glob("t--*")
    outside = tmp_path / "outside"
    outside.write_bytes(b"the user's")
    for name in ("manifest.json", "logs", "plugin/codex/link"):
        link = folder / "files" / name
        if link.is_dir():
            link.rename(folder / name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(outside if name != "logs" else tmp_path)
    # One that an earlier copy has brought here.
    here = archive(host)
    (here / "manifest.json").unlink()
    (here / "manifest.json").symlink_to(outside)
    host.agents = [SimpleNamespace(mngr_ctx=mngr_ctx)]
    recover(host)
    assert outside.read_bytes() == b"the user's"
    assert not [path for path in here.rglob("*") if path.is_symlink()]
    assert json.loads((here / "manifest.json").read_text())["items"]


@pytest.mark.parametrize("member", ["agent_id", "agent_name", "host_id"])
def test_a_host_cannot_replace_the_archive_of_another_agent(
    make_host: Callable[..., Host], warnings: list[str], member: str
) -> None:
    host = make_host()
    left_on(host)
    (folder,) = (host.host_dir / "preserved/set_aside").glob("t--*")
    identity = json.loads((folder / "agent.json").read_text())
    other = {"agent_id": str(AgentId.generate()), "agent_name": "other", "host_id": str(HostId.generate())}
    (folder / "agent.json").write_text(json.dumps({**identity, member: other[member]}))
    (found,) = set_aside.find(cast("Any", host))
    assert (found.identity.agent_id, found.identity.agent_name) == (AgentId(identity["agent_id"]), "t")
    assert found.identity.host_id == host.id and "damaged" in "".join(warnings)


@pytest.mark.parametrize("error", [MngrError("rsync failed"), OSError("no space"), Cut("the line is cut")])
def test_recover_reports_each_agent_and_fails_at_the_end(
    make_host: Callable[..., Host],
    monkeypatch: pytest.MonkeyPatch,
    warnings: list[str],
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    host = make_host()
    for number in range(3):
        if number:
            add_agent(host, host.agents[0].mngr_ctx)
        host.cut_at = len([each for each in host.done if each != "disconnect"]) + 2
        assert destroy(host)
        host.cut_at = None
    mngr_ctx = host.agents[0].mngr_ctx
    options = SimpleNamespace(host=None, is_list=False, keeps=False)
    context = (mngr_ctx, SimpleNamespace(output_format=OutputFormat.HUMAN), options)
    monkeypatch.setattr(recover_command, "setup_command_context", lambda *_: context)
    monkeypatch.setattr(recover_command, "_host", lambda *_: host)
    run, copied = host.copy_from, []

    def copy(source: Path, target: Path) -> None:
        copied.append(source)
        if len(copied) == 1:
            raise error
        run(source, target)

    host.copy_from = copy  # type: ignore[method-assign]
    is_lost = isinstance(error, Cut)
    with pytest.raises(MngrError, match=rf"{3 if is_lost else 1} of 3 agents are still on host far\.ssh: t"):
        recover_command.recover(cast("Any", None))
    assert str(error) in "".join(warnings)
    assert capsys.readouterr().out.count("copied to") == (0 if is_lost else 2)
    assert len(unfetched.agents(mngr_ctx, host.id)) == (3 if is_lost else 1)
    recover_command.recover(cast("Any", None))
    assert not unfetched.agents(mngr_ctx, host.id) and not left_there(host)
    assert len(discover_preserved_agent_archives(host.near)) == 3


def test_recover_names_a_host_that_is_down(make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    host = make_host()
    host.cut_at = 0
    options = SimpleNamespace(host=None, is_list=False, keeps=False)
    context = (host.agents[0].mngr_ctx, SimpleNamespace(output_format=OutputFormat.HUMAN), options)
    monkeypatch.setattr(recover_command, "setup_command_context", lambda *_: context)
    monkeypatch.setattr(recover_command, "_host", lambda *_: host)
    hint = "hint: run `mngr codex recover far.ssh` again when the host can be reached"
    with pytest.raises(MngrError, match=f"^cannot connect to far.ssh: the line is cut\n{hint}$"):
        recover_command.recover(cast("Any", None))


def test_a_folder_of_no_agent_affects_nothing(make_host: Callable[..., Host], warnings: list[str]) -> None:
    host = make_host()
    host.cut_at = 2
    assert destroy(host)
    host.cut_at = None
    (host.host_dir / "preserved/set_aside/mine").mkdir()
    recover(host)
    check_archive(host)
    assert any("ignoring" in each and "set_aside/mine" in each for each in warnings)


def test_an_error_about_one_agent_does_not_affect_the_others(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    host = make_host()
    add_agent(host, host.agents[0].mngr_ctx, replaces=False)
    secure = CodexAgent.secure

    def fail_for_the_first(agent: Any, there: Any) -> None:
        if agent is host.agents[0]:
            raise MngrError("cannot preserve the first")
        secure(agent, there)

    monkeypatch.setattr(CodexAgent, "secure", fail_for_the_first)
    with pytest.raises(MngrError, match="cannot preserve the first"):
        plugin.on_before_host_destroy(cast("Any", host), host.agents[0].mngr_ctx)
    (found,) = discover_preserved_agent_archives(host.near)
    assert found.agent_id == host.agents[1].id


@pytest.mark.parametrize("is_running", [True, False])
def test_an_agent_whose_data_is_damaged_is_preserved_with_its_host(
    make_host: Callable[..., Host], warnings: list[str], monkeypatch: pytest.MonkeyPatch, is_running: bool
) -> None:
    """mngr finds no agents on such a host, or skips the damaged one, and destroys the host."""
    host = make_host()
    add_agent(host, host.agents[0].mngr_ctx, replaces=False)
    ids = {agent.id for agent in host.agents}
    mngr_ctx = host.agents.pop(0).mngr_ctx
    (host.host_dir / "agents" / "no-agent").mkdir()
    monkeypatch.setattr(host, "get_agents", lambda: json.loads("{"))
    plugin.on_before_host_destroy(cast("Any", host if is_running else StoppedHost(host)), mngr_ctx)
    archives = discover_preserved_agent_archives(host.near)
    assert {each.agent_id for each in archives} == ids
    assert all((each.path / ROLLOUT).read_bytes() == FILES[ROLLOUT] for each in archives)
    assert any("data.json" in each and "damaged" in each for each in warnings)


@pytest.mark.parametrize("content", ["{", "[]", '{"id": 1}', None])
def test_mngrs_own_host_lists_no_agent_if_the_data_of_one_is_damaged(host: Any, content: str | None) -> None:
    damaged, other = AgentId.generate(), AgentId.generate()
    for agent_id in (damaged, other):
        (host.host_dir / "agents" / str(agent_id) / paths.CODEX_HOME).mkdir(parents=True)
    data = {"id": other, "name": "t", "type": "codex", "work_dir": "/", "command": "codex", "create_time": "2026-12-01"}
    (host.host_dir / "agents" / str(other) / "data.json").write_text(json.dumps(data))
    if content is not None:
        (host.host_dir / "agents" / str(damaged) / "data.json").write_text(content)
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            host.get_agents()
    agents, unlisted = preservation._agents(host)
    assert [agent.id for agent in agents] == [other] and unlisted == [damaged]
    assert isinstance(agents[0], CodexAgent)


def kill_before_the_end(host: Host) -> None:
    """Destroys the agent in vain: the command that sets its files aside is killed with the line."""
    host.shell = ["sh", "-c", 'mv() { kill $$; }; eval "$0"']
    host.cut_at, host.has_effect = 1, True
    assert not destroy(host)
    host.shell, host.cut_at = ["sh", "-c"], None


def test_damaged_data_of_a_stopped_host_loses_nothing(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    host = make_host()

    def fail() -> Any:
        raise AttributeError("'int' object has no attribute 'startswith'")

    monkeypatch.setattr(host, "discover_agents", fail)
    mngr_ctx = host.agents[0].mngr_ctx
    with pytest.raises(MngrError, match=r"cannot look for Codex agents on host far\.ssh .*\nhint: "):
        plugin.on_before_host_destroy(cast("Any", HostWithoutDisk(host)), mngr_ctx)
    plugin.on_before_host_destroy(cast("Any", StoppedHost(host)), mngr_ctx)
    (found,) = discover_preserved_agent_archives(host.near)
    assert found.agent_id == host.agents[0].id and (found.path / ROLLOUT).read_bytes() == FILES[ROLLOUT]


@pytest.mark.parametrize("is_complete", [True, False])
@pytest.mark.parametrize("is_running", [True, False])
def test_older_files_never_replace_newer_ones(
    make_host: Callable[..., Host], warnings: list[str], is_running: bool, is_complete: bool
) -> None:
    """Those that an interrupted destroy has set aside are older than the state of the agent, which went on."""
    host = make_host()
    if is_complete:
        host.cut_at = 2
        host.agents[0].secure(host)
        host.cut_at = None
    else:
        kill_before_the_end(host)
    # Not a link any more.
    (state(host) / ROLLOUT).unlink()
    (state(host) / ROLLOUT).write_bytes(FILES[ROLLOUT] + b"and more\n")
    if is_running:
        # Nothing more can be set aside.
        host.shell = ["sh", "-c", 'mkdir() { return 1; }; eval "$0"']
        assert destroy(host)
    else:
        plugin.on_before_host_destroy(cast("Any", StoppedHost(host)), host.agents[0].mngr_ctx)
        shutil.rmtree(state(host))
    assert preserved_here(host) == {**FILES, ROLLOUT: FILES[ROLLOUT] + b"and more\n"}
    if is_running:
        recover(host)
        assert preserved_here(host) == {**FILES, ROLLOUT: FILES[ROLLOUT] + b"and more\n"}


def test_what_a_killed_command_has_begun_is_continued(make_host: Callable[..., Host], warnings: list[str]) -> None:
    """Files that the agent has no more since then are kept, too."""
    host = make_host()
    root = host.host_dir / "preserved/set_aside"
    kill_before_the_end(host)
    (begun,) = root.glob(".t--*")
    (state(host) / ROLLOUT).unlink()
    (state(host) / paths.ROOT_SESSION).unlink()
    (state(host) / paths.ROOT_SESSION).write_bytes(b"1111")
    # It is the next destroy's, as long as the agent exists.
    assert set_aside.find(cast("Any", host)) == []
    assert destroy(host)
    assert preserved_here(host) == {**FILES, paths.ROOT_SESSION: b"1111"}
    assert not begun.exists() and not root.exists()


def test_what_was_begun_of_an_agent_that_is_gone_is_recovered(
    make_host: Callable[..., Host], warnings: list[str]
) -> None:
    host = make_host()
    kill_before_the_end(host)
    shutil.rmtree(state(host))
    recover(host)
    check_archive(host)
    assert not left_there(host)


WITHOUT_LINKS = """\
ln() { return 1; }
cp() {
    case $1 in -*l*) mkdir -p "${3%/*}"; return 1 ;; esac
    sleep 0.4
    command cp "$@"
}
"""


def test_files_are_copied_where_links_are_not_possible(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, warnings: list[str], shell: list[str]
) -> None:
    """It takes as many commands as needed, and each may be cut off."""
    monkeypatch.setattr(set_aside, "_SLICE_SECONDS", 1)
    monkeypatch.setattr(set_aside, "RETRY_SECONDS", 5.0)
    host = make_host(script='echo x >>"${0%/*}/passes"')
    host.shell = [*shell, WITHOUT_LINKS + 'eval "$0"']
    host.cut_at, host.cut_for, host.has_effect = 2, 1, True
    inode = (state(host) / ROLLOUT).stat().st_ino
    (begun, program) = (host.host_dir / "preserved/set_aside", state(host) / paths.PROGRAM)
    copied: list[int] = []
    run = host.copy_from

    def copy(source: Path, target: Path) -> None:
        copied.append((source / ROLLOUT).stat().st_ino)
        assert (program.parent / "passes").read_text() == "x\n"
        run(source, target)

    host.copy_from = copy  # type: ignore[method-assign]
    assert destroy(host)
    assert host.done.count("command") >= 4 and copied and inode not in copied
    check_archive(host)
    assert not begun.exists()


def test_copying_that_takes_long_is_no_failure(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    """The command that copies a large file may be over its time limit, and the next ones wait for it."""
    monkeypatch.setattr(set_aside, "_SLICE_SECONDS", 1)
    monkeypatch.setattr(set_aside, "RETRY_SECONDS", 1.0)
    host = make_host()
    slow = WITHOUT_LINKS.replace("sleep 0.4", "case $1 in *rollout-2026*) sleep 5 ;; esac")
    host.shell = ["sh", "-c", slow + 'eval "$0"']
    running: list[subprocess.Popen[str]] = []
    execute = host.execute_idempotent_command

    def time_out_once(command: str, timeout_seconds: float | None = None) -> Any:
        if running:
            return execute(command, timeout_seconds)
        shell = subprocess.Popen([*host.shell, command], stdout=subprocess.DEVNULL, text=True)
        running.append(shell)
        with contextlib.suppress(subprocess.TimeoutExpired):
            shell.wait(2)
        raise HostConnectionError("SSH command timed out reading output")

    host.execute_idempotent_command = time_out_once  # type: ignore[method-assign]
    assert destroy(host)
    running[0].wait()
    check_archive(host)


def test_setting_aside_without_progress_ends(
    make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    monkeypatch.setattr(set_aside, "_SLICE_SECONDS", 0)
    monkeypatch.setattr(set_aside, "_STALLED_SECONDS", 2.0)
    host = make_host()
    root = host.host_dir / "preserved/set_aside"
    root.mkdir(parents=True)
    with (root / f".{host.agents[0].id}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not destroy(host)
    assert destroy(host)


def test_a_local_agent_is_copied(make_host: Callable[..., Host], warnings: list[str]) -> None:
    host = make_host(is_local=True)
    assert destroy(host)
    assert preserved_here(host) == FILES and not warnings
    assert archive(host).stat().st_mode & 0o077 == 0


def test_a_local_agent_is_moved_if_the_disk_is_full(make_host: Callable[..., Host]) -> None:
    host = make_host(is_local=True)

    def copy(source: Path, target: Path) -> None:
        for file in source.rglob("*"):
            if file.is_file():
                copied = target / file.relative_to(source)
                copied.parent.mkdir(parents=True, exist_ok=True)
                copied.write_bytes(file.read_bytes()[:3])
        raise MngrError("rsync: No space left on device (28)")

    host.copy_from = copy  # type: ignore[method-assign]
    assert destroy(host)
    assert preserved_here(host) == FILES
    manifest = json.loads((archive(host) / "manifest.json").read_text())
    assert {each["outcome"] for each in manifest["items"]} == {"copied", "missing"}


def test_a_local_agent_that_cannot_be_preserved_is_kept(make_host: Callable[..., Host]) -> None:
    host = make_host(is_local=True)
    (host.near / "preserved").write_bytes(b"not a folder")
    assert not destroy(host)
    assert all((state(host) / path).exists() for path in FILES)


@pytest.mark.parametrize("is_local", [False, True])
def test_the_last_pass(make_host: Callable[..., Host], warnings: list[str], is_local: bool) -> None:
    """It also runs for other plugins, which copy what it writes."""
    script = 'echo "$MNGR_CONVERT_LOCK_TIMEOUT $*" >>"${0%/agents/*}/called"'
    for preserve in (True, False):
        host = make_host(script=script, is_local=is_local, preserve=preserve)
        assert destroy(host)
        called = host.host_dir / "called"
        folder = host.host_dir / "agents" / str(host.agents[0].id)
        assert called.read_text() == f"5 watch --once --final --state-dir {folder}\n"
        called.unlink()
        assert (host.near / "preserved").exists() is preserve
        shutil.rmtree(host.near / "preserved", ignore_errors=True)
    assert not warnings


@pytest.mark.parametrize("preserve", [True, False])
def test_a_failing_pass_is_a_warning(make_host: Callable[..., Host], warnings: list[str], preserve: bool) -> None:
    host = make_host(script="echo 'it is\nbroken' >&2; exit 1", preserve=preserve)
    assert destroy(host)
    (warning,) = warnings
    assert "agent t" in warning and "it is broken" in warning
    if preserve:
        check_archive(host)
        manifest = json.loads((archive(host) / "manifest.json").read_text())
        assert [each["outcome"] for each in manifest["transcript_flush"]] == ["error"]


@pytest.mark.parametrize("error", [HostConnectionError("gone"), OSError("no route")])
def test_an_agent_whose_files_are_not_wanted_is_destroyed_in_any_case(
    make_host: Callable[..., Host], warnings: list[str], error: Exception
) -> None:
    host = make_host(preserve=False)
    host.error = error
    assert destroy(host)
    (warning,) = warnings
    assert "agent t" in warning and str(error) in warning


def test_the_hooks_precede_those_of_other_plugins() -> None:
    for hook in (plugin.on_before_agent_destroy, plugin.on_before_host_destroy):
        assert vars(hook)["mngr_impl"]["tryfirst"]
