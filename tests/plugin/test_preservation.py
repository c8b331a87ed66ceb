"""Nothing of a destroyed agent is lost: its files are here, on its host, or the agent is not destroyed."""

from __future__ import annotations

import json
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
from imbue.mngr.errors import HostConnectionError, MngrError
from imbue.mngr.primitives import AgentId, AgentName, AgentTypeName, HostId, HostName, ProviderInstanceName
from loguru import logger

from mngr_codex import plugin
from mngr_codex.plugin import paths, preservation, set_aside
from mngr_codex.plugin.agent import CodexAgent

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

    def path_exists(self, path: Path) -> bool:
        return path.exists()

    def read_file(self, path: Path) -> bytes:
        return path.read_bytes()

    def build_source_env_prefix(self, _: Any) -> str:
        return ""

    def copy_from(self, source: Path, target: Path) -> None:
        """Copies a folder, as the near host does with rsync."""

        def run() -> None:
            command = ["rsync", "-rlpt", "--partial", f"{source}/", f"{target}/"]
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


@pytest.fixture
def make_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Host]:
    """Creates a host with an agent."""
    near = tmp_path / "near"
    near.mkdir()
    mngr_ctx = SimpleNamespace(config=SimpleNamespace(default_host_dir=near, agent_types={}))
    for module in (preservation, set_aside, mngr_preservation):
        monkeypatch.setattr(module, "OnlineHostInterface", Host, raising=False)
        monkeypatch.setattr(module, "HostFileReadInterface", Host, raising=False)
    monkeypatch.setattr(CodexAgent, "_get_agent_dir", lambda self: self.host.host_dir / "agents" / str(self.id))
    monkeypatch.setattr(CodexAgent, "get_labels", lambda _: {})
    monkeypatch.setattr(set_aside, "RETRY_SECONDS", 0.0)

    def make(*, is_local: bool = False, script: str | None = None, preserve: bool = True) -> Host:
        host = Host(tmp_path / "far", near, is_local=is_local)

        def copy_directory(source: Host, path: Path, target: Path, **_: Any) -> None:
            target.mkdir(parents=True, exist_ok=True)
            source.copy_from(path, target)

        local = SimpleNamespace(copy_directory=copy_directory)
        monkeypatch.setattr(set_aside, "get_local_host", lambda _: local)
        monkeypatch.setattr(mngr_preservation, "_get_local_online_host", lambda _: local)
        add_agent(host, mngr_ctx, script=script, preserve=preserve)
        return host

    return make


def add_agent(host: Host, mngr_ctx: Any, *, script: str | None = None, preserve: bool = True) -> None:
    agent = CodexAgent.model_construct(
        id=AgentId.generate(),
        name=AgentName("t"),
        agent_type=AgentTypeName("codex"),
        agent_config=SimpleNamespace(preserve_on_destroy=preserve, emit_common_transcript=True),
        mngr_ctx=mngr_ctx,
        host=host,
    )
    host.agents = [agent]
    for path, content in FILES.items():
        file = state(host) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    program = state(host) / paths.PROGRAM
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


def state(host: Host) -> Path:
    return host.host_dir / "agents" / str(host.agents[0].id)


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
    found = set_aside.find(cast("Any", host))
    set_aside.bring_here(cast("Any", host), host.agents[0].mngr_ctx, found, preservation.preserved_items())


def check_archive(host: Host) -> None:
    assert preserved_here(host) == FILES
    folder = archive(host)
    modes = {path.stat().st_mode & 0o077 for path in [folder, *folder.rglob("*")] if path.name != "manifest.json"}
    assert modes == {0}
    items = {each["rel_path"]: each["outcome"] for each in json.loads((folder / "manifest.json").read_text())["items"]}
    assert items.pop(paths.ROLLOUT) == items.pop(paths.ROLLOUTS) == "missing"
    assert set(items.values()) == {"copied"}


@pytest.mark.parametrize("shell", [["sh", "-c"], ["busybox", "sh", "-c"]], ids=["sh", "busybox"])
def test_a_remote_agent_is_preserved_with_few_commands(
    make_host: Callable[..., Host], warnings: list[str], shell: list[str], tmp_path: Path
) -> None:
    host = make_host(script='echo "$MNGR_CONVERT_LOCK_TIMEOUT $*" >"$0.called"; touch "${0%/*}/../codex_root_session"')
    if shell[0] == "busybox":
        if shutil.which("busybox") is None:
            pytest.skip("busybox is not installed (apt install busybox-static)")
        applets = tmp_path / "applets"
        applets.mkdir()
        subprocess.run(["busybox", "--install", "-s", applets], check=True)
        shell = ["env", f"PATH={applets}", "sh", "-c"]
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


def test_what_stays_on_the_host_is_named_and_recovered(make_host: Callable[..., Host], warnings: list[str]) -> None:
    host = make_host()
    host.cut_at = 2
    assert destroy(host)
    (warning,) = warnings
    assert "t@far" in warning and str(host.host_dir / "preserved/set_aside") in warning
    assert "\nhint: run `mngr codex recover far`" in warning
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


def test_two_destroys_at_once(make_host: Callable[..., Host], warnings: list[str]) -> None:
    """One finds that the other has brought everything here."""
    host = make_host()
    run = host.copy_from

    def copy(source: Path, target: Path) -> None:
        host.copy_from = run  # type: ignore[method-assign]
        set_aside.remove(cast("Any", host), set_aside.find(cast("Any", host)))
        subprocess.run(["cp", "-r", f"{state(host)}/.", target], check=True)
        run(source, target)

    host.copy_from = copy  # type: ignore[method-assign]
    assert destroy(host)
    assert preserved_here(host) == FILES and not set_aside.find(cast("Any", host))


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
    with pytest.raises(MngrError, match=r"kept on host far: .*\nhint: run `mngr codex recover far`"):
        preservation.secure_host(cast("Any", host), mngr_ctx, CodexAgent)
    host.cut_at = None
    preservation.secure_host(cast("Any", host), mngr_ctx, CodexAgent)
    (found,) = discover_preserved_agent_archives(host.near)
    assert (found.path / ROLLOUT).read_bytes() == FILES[ROLLOUT]


def test_agents_are_preserved_before_their_host_is_destroyed(make_host: Callable[..., Host]) -> None:
    host = make_host()
    host.agents.append(SimpleNamespace())
    preservation.secure_host(cast("Any", host), host.agents[0].mngr_ctx, CodexAgent)
    check_archive(host)


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
