"""What `mngr codex doctor` finds, on mngr's real local host. Each test produces one fault.

Faults of running agents are in tests/end_to_end/test_doctor.py.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.doctor_docs import documented_checks
from tests.support.folder_snapshot import snapshot

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.primitives import AgentLifecycleState

from mngr_codex.plugin import paths
from mngr_codex.plugin.agent import CodexAgent
from mngr_codex.plugin.cli.doctor import clock, disk, end, examine, installation, processes, report, servers, system
from mngr_codex.plugin.cli.doctor.codex import new_agents_need_login
from mngr_codex.plugin.cli.doctor.finding import Finding, guarded
from mngr_codex.plugin.config import CodexAgentConfig
from mngr_codex.plugin.home import hooks_json
from mngr_codex.plugin.home.build import CodexHomeRequest, build
from mngr_codex.plugin.host.facts import read
from mngr_codex.plugin.host.files import write_files

type MakeAgent = Callable[..., Path]

PROGRAM = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "mngr-codex 0.1.0"; exit; fi
echo '{"state": "WAITING", "root": null, "subagents": []}'
"""
CODEX = """\
#!/bin/sh
echo "codex-cli 0.163.0"
"""


@pytest.fixture
def make_agent(host: Any, home: Path, tmp_path: Path) -> MakeAgent:
    """Creates the files of a stopped agent, and returns its state directory."""
    numbers = iter(range(100))

    def make(name: str = "t", agent_type: str = "codex", program: str = PROGRAM) -> Path:
        agent_id = f"agent-{next(numbers):032x}"
        state_dir = Path(host.host_dir) / "agents" / agent_id
        work_dir = tmp_path / f"work-{name}"
        work_dir.mkdir()
        for path, content in ((paths.PROGRAM, program), (paths.LAUNCHER, "#!/bin/sh\n")):
            file = state_dir / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
            file.chmod(0o755)
        codex_home = state_dir / paths.CODEX_HOME
        codex_home.mkdir(parents=True)
        data = {
            "id": agent_id,
            "name": name,
            "type": agent_type,
            "work_dir": str(work_dir),
            "create_time": "2026-01-01T00:00:00+00:00",
            "command": "true",
        }
        (state_dir / "data.json").write_text(json.dumps(data))
        return state_dir

    return make


@pytest.fixture
def fake_codex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `codex` on PATH that reports a version and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "codex"
    program.write_text(CODEX)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return program


def problems(host: Any, *names: str, about: str) -> list[Finding]:
    """Returns the problems and warnings of one kind that the doctor finds."""
    return [found for found in examine(host.mngr_ctx, names) if found.what == about and found.level != "ok"]


# -- the report


def test_findings_come_first() -> None:
    findings = [
        Finding("codex", "0.163.0"),
        Finding("disk", "almost full", "remove files", is_warning=True),
        Finding("state", "WAITING", agent="a"),
        Finding("hooks", "10 trusted", agent="a"),
        Finding("state", "DONE: Codex has ended. Its terminal shows:\nError: \x1b[31mno", "run `x`", "b"),
    ]
    assert list(report.human_lines(findings, is_verbose=False)) == [
        "✗ b: state: DONE: Codex has ended. Its terminal shows:",
        "      Error: \\x1b[31mno",
        "    hint: run `x`",
        "! disk: almost full",
        "    hint: remove files",
        "",
        "✓ a: WAITING",
        "1 problem and 1 warning. Use --verbose to list all checks.",
    ]
    verbose = list(report.human_lines(findings, is_verbose=True))
    assert verbose[6:] == [
        "✓ codex: 0.163.0",
        "✓ a: state: WAITING",
        "✓ a: hooks: 10 trusted",
        "1 problem and 1 warning.",
    ]
    healthy = list(report.human_lines([findings[0], *findings[2:4]], is_verbose=False))
    assert healthy == ["✓ this machine: 1 check", "✓ a: WAITING", "No problems found."]
    assert [row["level"] for row in json.loads(report.json_text(findings, is_lines=False))] == [
        "ok",
        "warning",
        "ok",
        "ok",
        "problem",
    ]


def test_an_error_in_a_check_is_a_finding() -> None:
    def check() -> Iterator[Finding]:
        yield Finding("disk", "fine")
        raise PermissionError(13, "Permission denied", "/x")

    fine, failed = guarded("disk", check)
    assert fine.level == "ok"
    assert (failed.level, failed.said) == ("problem", "cannot check this: [Errno 13] Permission denied: '/x'")


# -- this machine


def test_missing_and_old_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [found.level for found in system.programs()] == ["ok"] * 3
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [(found.what, found.level) for found in system.programs()] == [
        ("tmux", "problem"),
        ("git", "problem"),
        ("rsync", "problem"),
    ]
    tmux = tmp_path / "tmux"
    for version, level in (
        ("tmux 2.9a", "problem"),
        ("tmux 3.0", "ok"),
        ("tmux next-3.6", "ok"),
        ("tmux master", "ok"),
    ):
        tmux.write_text(f"#!/bin/sh\necho '{version}'\n")
        tmux.chmod(0o755)
        assert next(system.programs()).level == level, version


FULL_DISK = """\
from pathlib import Path
from mngr_codex.plugin.cli.doctor import disk
for folder in sys.argv[1:]:
    (found,) = disk.check([Path(folder, "does", "not", "exist")])
    print(found.level, found.said)
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """Disks of different sizes, which a new user namespace may mount."""
    sizes = {"full": "size=50m", "low": "size=500m", "fine": "size=2g,nr_inodes=100k", "files": "size=2g,nr_inodes=500"}
    mounts = "".join(f"mkdir {name} && mount -t tmpfs -o {size} none {name} && " for name, size in sizes.items())
    script = tmp_path / "check.py"
    script.write_text(f"import sys\nsys.path[:] = {sys.path!r}\n{FULL_DISK}")
    inside = f"cd {tmp_path} && {mounts} exec {sys.executable} {script} {' '.join(sizes)}"
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    tried = (
        subprocess.run([*unshare, "mount -t tmpfs none /mnt"], capture_output=True) if shutil.which("unshare") else None
    )
    if tried is None or tried.returncode != 0:
        pytest.skip("user namespaces are not permitted here")
    ran = subprocess.run([*unshare, inside], capture_output=True, text=True, check=True)
    full, low, fine, files = ran.stdout.splitlines()
    assert full.startswith("problem ") and "full: 5" in full and "MiB are left" in full
    assert low.startswith("warning ") and "almost full: " in low
    assert fine.startswith("ok ")
    assert files.startswith("problem ") and "more files fit" in files


def test_disks_are_checked_once(tmp_path: Path) -> None:
    assert len(list(disk.check([tmp_path, tmp_path / "missing", tmp_path.parent]))) == 1


def test_a_clock_that_is_behind(tmp_path: Path) -> None:
    file = tmp_path / "rollout.jsonl"
    file.touch()
    assert clock.check([file, tmp_path / "missing"]).level == "ok"
    assert clock.check([]).level == "ok"
    os.utime(file, (0, time.time() + 3600))
    found = clock.check([file])
    assert found.level == "problem" and f"{file} was written at " in found.said
    assert re.search(r"(1:00:00|0:59:59) later", found.said)
    # A file server's clock may differ.
    os.utime(file, (0, time.time() + 60))
    assert clock.check([file]).level == "ok"


def test_the_clock_is_compared_with_the_rollouts(host: Any, make_agent: MakeAgent) -> None:
    state_dir = make_agent()
    rollout = state_dir / "rollout.jsonl"
    rollout.touch()
    (state_dir / paths.ROLLOUT).write_text(f"{rollout}\n")
    assert problems(host, about="clock") == []
    os.utime(rollout, (0, time.time() + 86_400))
    (found,) = problems(host, about="clock")
    assert str(rollout) in found.said


def test_no_temporary_folder(
    host: Any, make_agent: MakeAgent, fake_codex: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, for example. The agents are still checked."""
    (make_agent() / paths.CODEX_HOME / "hooks.json").write_text("{}")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert {"state", "hooks"} <= {found.what for found in examine(host.mngr_ctx, ()) if found.agent}


def test_low_limits_are_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max_user_instances").write_text("8\n")
    (tmp_path / "max_user_watches").write_text("100000\n")
    monkeypatch.setattr(system, "_LIMITS", tmp_path)
    assert [found.level for found in system.inotify()] == ["warning", "ok"]


# -- the installation


def install(folder: Path, name: str, origin: dict[str, Any] | None) -> None:
    """Writes the metadata of an installed package."""
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if origin is not None:
        (metadata / "direct_url.json").write_text(json.dumps(origin))


def test_editable_installs(tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    clone = tmp_path / "a clone"
    clone.mkdir()
    editable = {"editable": True}
    install(packages, "mngr-codex", {"url": clone.as_uri(), "dir_info": editable})
    install(packages, "from-pypi", None)
    install(packages, "from-folder", {"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    install(packages, "from-git", {"url": "https://example.invalid/x", "vcs_info": {"vcs": "git"}})
    install(packages, "other-plugin", {"url": (tmp_path / "gone").as_uri(), "dir_info": editable})
    (packages / "other_plugin-1.0.dist-info" / "INSTALLER").write_bytes(b"\xff")
    found = {
        finding.said.split()[0]: finding
        for finding in installation.editable(importlib.metadata.distributions(path=[str(packages)]))
    }
    assert found.keys() == {"mngr-codex", "other-plugin"}
    assert found["mngr-codex"].level == "warning" and f"is used from {clone}" in found["mngr-codex"].said
    assert found["other-plugin"].level == "problem"
    assert "run `mngr plugin remove other-plugin`" in (found["other-plugin"].remedy or "")
    assert "`uv tool install --force --python 3." in (found["other-plugin"].remedy or "")
    clone.rmdir()
    (gone,) = (
        finding
        for finding in installation.editable(importlib.metadata.distributions(path=[str(packages)]))
        if finding.said.startswith("mngr-codex")
    )
    assert gone.level == "problem"


@pytest.fixture
def configured_host(home: Path, request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Returns mngr's local host with settings in TOML."""

    def make(settings: str) -> Any:
        profile = home / ".mngr" / "profiles" / "tests"
        profile.mkdir(parents=True)
        (profile / "settings.toml").write_text(f"is_allowed_in_pytest = true\n{settings}")
        return request.getfixturevalue("host")

    return make


def test_settings_of_a_disabled_plugin(configured_host: Callable[[str], Any], fake_codex: Path) -> None:
    host = configured_host("""\
[plugins.codex]
enabled = false
[agent_types.codex]
model = "gpt-5.5"
""")
    (found,) = problems(host, about="settings")
    assert "mngr ignores settings under [agent_types.codex]" in found.said
    assert 'plugin = "mngr_codex"' in (found.remedy or "")


def test_the_version_of_own_agent_types(configured_host: Callable[[str], Any], fake_codex: Path) -> None:
    other = fake_codex.with_name("other-codex")
    other.write_text(CODEX.replace("0.163.0", "0.171.0"))
    other.chmod(0o755)
    settings = f"""\
[agent_types.codex]
version = "0.163.0"
[agent_types.old]
parent_type = "codex"
version = "0.150.0"
[agent_types.new]
parent_type = "codex"
command = "{other}"
version = "0.171.0"
[agent_types.gone]
parent_type = "codex"
command = "/nowhere/codex"
[agent_types.wrong]
parent_type = "codex"
sandbox_mode = "some"
"""
    findings = examine(configured_host(settings).mngr_ctx, ())
    said = {found.said: found.level for found in findings if found.what == "codex"}
    assert said == {
        "0.163.0": "ok",
        "[agent_types.new] 0.171.0": "ok",
        "[agent_types.old] 0.163.0 is installed, but the settings require 0.150.0": "problem",
        "[agent_types.gone] /nowhere/codex is not on PATH": "problem",
    }
    (invalid,) = (found for found in findings if found.what == "settings")
    assert "[agent_types.wrong]" in invalid.said and "`mngr config edit --scope user`" in (invalid.remedy or "")


def test_a_codex_outside_path_is_found_as_by_create(
    host: Any, home: Path, make_agent: MakeAgent, codex: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version, and the hooks that it lists."""
    (make_agent() / paths.CODEX_HOME / "hooks.json").write_text(
        json.dumps(
            {"hooks": hooks_json.build_hooks(Path(host.host_dir, "agents", f"agent-{0:032x}", paths.PROGRAM))["hooks"]}
        )
    )
    monkeypatch.setenv("PATH", os.defpath)
    missing = "codex is neither on PATH nor in ~/.local/bin or npm's folder"
    assert [found.said for found in problems(host, about="codex")] == [missing]
    local_bin = home / ".local/bin"
    local_bin.mkdir(parents=True)
    (local_bin / "codex").symlink_to(codex)
    findings = examine(host.mngr_ctx, ())
    (found,) = (found for found in findings if found.what == "codex")
    assert found.level == "ok" and re.fullmatch(r"\d+\.\d+\.\d+", found.said)
    (hooks,) = (found for found in findings if found.what == "hooks")
    assert "did not list its hooks" not in hooks.said and "new or edited hooks" in hooks.said


def test_an_empty_login_is_none(host: Any, home: Path, fake_codex: Path) -> None:
    (home / ".codex").mkdir()
    (home / ".codex/auth.json").touch()
    (found,) = problems(host, about="login")
    assert found.said == f"{home}/.codex/auth.json does not exist or is empty"
    (home / ".codex/auth.json").write_text("{}")
    assert not problems(host, about="login")


def test_a_sandbox_that_does_not_start(host: Any, make_agent: MakeAgent, fake_codex: Path) -> None:
    state_dir = make_agent()
    assert not problems(host, about="sandbox")
    fake_codex.write_text(f"{CODEX}[ $1 != sandbox ] || {{ echo 'bwrap: no namespaces' >&2; exit 1; }}\n")
    (found,) = problems(host, about="sandbox")
    assert found.level == "warning" and found.said.endswith("bwrap: no namespaces")
    (state_dir / paths.CODEX_HOME / "config.toml").write_text('sandbox_mode = "danger-full-access"\n')
    assert not problems(host, about="sandbox")


def test_a_damaged_record_of_a_trusted_folder(host: Any) -> None:
    from mngr_codex.plugin.home.trusted_folders import TrustedFolders

    profile = host.mngr_ctx.profile_dir
    TrustedFolders(profile).add("/a/repository")
    assert problems(host, about="trusted folders") == []
    (record,) = profile.rglob("trusted_folders/*")
    record.write_text("{")
    (found,) = problems(host, about="trusted folders")
    assert str(record) in found.said and "mngr codex trust revoke" in (found.remedy or "")


# -- agents


def test_a_missing_work_directory(host: Any, make_agent: MakeAgent, tmp_path: Path) -> None:
    make_agent()
    assert problems(host, about="work dir") == []
    (tmp_path / "work-t").rmdir()
    (found,) = problems(host, "t", about="work dir")
    assert f"{tmp_path / 'work-t'} does not exist" in found.said
    assert "`mngr destroy t`" in (found.remedy or "")


def test_a_missing_worktree(host: Any, make_agent: MakeAgent, tmp_path: Path) -> None:
    """The remedy names the repository, if it is still there."""
    state_dir = make_agent()
    data = state_dir / "data.json"
    data.write_text(json.dumps({**json.loads(data.read_text()), "checked_out_branch_name": "mngr/t"}))
    (tmp_path / "work-t").rmdir()
    add = f"worktree add -f {tmp_path / 'work-t'} mngr/t`"
    record = state_dir / paths.REPOSITORY
    record.parent.mkdir(parents=True)
    record.write_text(f"{tmp_path / 'a repository'}\n")
    (found,) = problems(host, "t", about="work dir")
    assert f"run `git {add} in its repository" in (found.remedy or "")
    (tmp_path / "a repository" / ".git").mkdir(parents=True)
    (found,) = problems(host, "t", about="work dir")
    assert f"run `git -C '{tmp_path / 'a repository'}' {add}, then" in (found.remedy or "")


@pytest.mark.parametrize(
    "content", ["{", "[]", "7", "", '{"id": "no"}', '{"name": "x"}', None], ids=lambda content: repr(content)
)
def test_a_damaged_agent_does_not_hide_the_others(host: Any, make_agent: MakeAgent, content: str | None) -> None:
    make_agent("whole")
    damaged = make_agent("damaged") / "data.json"
    damaged.unlink()
    if content is None:
        damaged.mkdir()
    else:
        damaged.write_text(content)
    (found,) = problems(host, about="data.json")
    assert found.said.startswith(f"cannot read {damaged}: ") and found.agent == damaged.parent.name
    assert any(finding.agent == "whole" for finding in examine(host.mngr_ctx, ()))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (paths.PROGRAM, "#!/bin/sh\necho no JSON\n"),
        (paths.PROGRAM, "#!/bin/sh\necho '[]'\nexit 1\n"),
        (paths.PROGRAM, None),
        (paths.LAUNCHER, None),
        (paths.ROOT_SESSION, None),
        (paths.ROLLOUT, None),
        (paths.COMMON_TRANSCRIPT, "no folder"),
        (f"{paths.CODEX_HOME}/hooks.json", "{"),
        (f"{paths.CODEX_HOME}/hooks.json", '{"hooks": {"Stop": [7], "SessionStart": {"hooks": 7}}}'),
        (f"{paths.CODEX_HOME}/hooks.json", None),
        (f"{paths.CODEX_HOME}/config.toml", "no = = toml"),
        (paths.CODEX_HOME, "no folder"),
    ],
)
def test_damaged_files_of_an_agent_are_reported(
    host: Any, make_agent: MakeAgent, path: str, content: str | None
) -> None:
    """None of them raises an error. With None, a folder is in place of the file."""
    file = make_agent() / path
    if file.is_dir():
        shutil.rmtree(file)
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        file.mkdir()
    else:
        file.write_text(content)
        file.chmod(0o755)
    checked = {found.what for found in examine(host.mngr_ctx, ()) if found.agent == "t"}
    assert "state" in checked and "hooks" in checked


def test_every_check_has_a_line(host: Any, make_agent: MakeAgent, fake_codex: Path) -> None:
    make_agent()
    found = examine(host.mngr_ctx, ())
    of_machine = {"inotify" if each.what.startswith("inotify") else each.what for each in found if each.agent is None}
    assert of_machine == documented_checks("## This machine")
    of_agent = [each.what for each in found if each.agent == "t"]
    # The agent does not run.
    assert set(of_agent) == documented_checks("## Each agent") - {"terminal", "watcher", "status"}
    assert len(of_agent) == len(set(of_agent))


def test_an_agent_without_any_hook_run(host: Any, make_agent: MakeAgent) -> None:
    make_agent(program="""#!/bin/sh\necho '{"state": "UNKNOWN", "root": null, "subagents": []}'\nexit 1\n""")
    (marker,) = (found for found in examine(host.mngr_ctx, ()) if found.what == "marker")
    assert (marker.level, marker.said) == ("ok", "no hook has run yet")


def test_a_marker_left_by_a_crash(host: Any, make_agent: MakeAgent) -> None:
    make_agent(program=PROGRAM.replace("WAITING", "RUNNING"))
    (found,) = problems(host, about="marker")
    assert "marker reset --state-dir" in (found.remedy or "")


def test_hooks_of_the_agent(host: Any, make_agent: MakeAgent, codex: str, fake_codex: Path) -> None:
    """A hook that is edited, removed, added or disabled, judged by the real Codex."""
    fake_codex.unlink()
    fake_codex.symlink_to(codex)
    state_dir = make_agent()
    home = state_dir / paths.CODEX_HOME
    work_dir = Path(json.loads((state_dir / "data.json").read_text())["work_dir"])
    repository_hooks = work_dir / ".codex" / "hooks.json"
    repository_hooks.parent.mkdir()
    own = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "true"}]}]}}
    repository_hooks.write_text(json.dumps(own))
    request = CodexHomeRequest(
        codex_home=home,
        work_dir=work_dir,
        program=state_dir / paths.PROGRAM,
        settings={},
        overrides={},
        trusts_repository_hooks=True,
    )
    write_files(host, build(host, request, read(host, codex)).files)
    before = snapshot(state_dir)
    (fine,) = (found for found in examine(host.mngr_ctx, ()) if found.what == "hooks")
    assert fine.level == "ok" and fine.said.endswith(" trusted, 0 disabled")
    # Codex writes to any home that it gets, so it gets a copy.
    assert snapshot(state_dir) == before
    repository_hooks.write_text(json.dumps(own).replace("true", "false"))
    (found,) = problems(host, about="hooks")
    assert "Codex will ask for a review of new or edited hooks: stop (false)" in found.said
    repository_hooks.write_text(json.dumps(own))
    hooks = home / "hooks.json"
    written = hooks.read_text()
    for old, new, expected in (
        ("hook stop", "hook  stop", "mngr's hooks for Stop are not in"),
        ('"timeout": 60', '"timeout": 600', "new or edited hooks: sessionStart"),
        ('"Interrupt"', '"Interrupted"', "mngr's hooks for Interrupt are not in"),
    ):
        assert old in written
        hooks.write_text(written.replace(old, new, 1))
        (found,) = problems(host, about="hooks")
        assert found.level == "problem" and expected in found.said, found
    hooks.write_text(written)
    config = home / "config.toml"
    settings = config.read_text()
    config.write_text(settings.replace("hooks = true", "hooks = false"))
    (found,) = problems(host, about="hooks")
    assert "disables all hooks" in found.said


# -- the end of Codex


@pytest.mark.parametrize(
    ("text", "first", "last", "cause"),
    [
        ("", "Codex has ended", "Codex has ended", "unknown"),
        (
            "$ . /x/launch_agent.sh\nError loading configuration: Model provider `x` not found\n$\n\n",
            "Codex has ended. Its terminal shows:",
            "Error loading configuration: Model provider `x` not found",
            "unknown",
        ),
        (
            "old output\n$ . /x/launch_agent.sh\nerror: one\n$ . /x/launch_agent.sh\nerror: two\n$",
            "Codex has ended. Its terminal shows:",
            "error: two",
            "unknown",
        ),
        (
            "• You said: Hi\n\n› Killeddex to do anything\n$ \n  GPT-5.5 default\n",
            "Codex was ended by a signal (killed), which the system also sends if memory runs out",
            "Codex was ended by a signal (killed), which the system also sends if memory runs out",
            "signal",
        ),
        (
            "zsh: segmentation fault  codex\n%",
            "Codex was ended by a signal (segmentation fault)",
            "Codex was ended by a signal (segmentation fault)",
            "signal",
        ),
        (
            "• Killed the process, as you asked.\n",
            "Codex has ended. Its terminal shows:",
            "• Killed the process, as you asked.",
            "unknown",
        ),
    ],
)
def test_the_reason_why_codex_has_ended(text: str, first: str, last: str, cause: str) -> None:
    """The terminal is shown only if Codex can have printed an error."""
    ended = end.explain(text)
    lines = ended.reason.splitlines()
    assert (lines[0], lines[-1], ended.cause) == (first, last, cause)


def test_a_codex_that_was_quit() -> None:
    text = "Token usage: total=1\nTo continue this session, run:\n  codex resume 01a2\n$ "
    assert end.explain(text) == end.End("Codex was quit", "quit")


def test_only_the_last_lines_are_shown() -> None:
    ended = end.explain("\n".join(map(str, range(50))))
    assert ended.reason.splitlines()[1:] == [str(number) for number in range(38, 50)]


# -- servers


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts processes with a server's arguments, and returns their ids."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **environment: str) -> int:
        command = [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)", *arguments]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline()
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system does not show the environment")
def test_servers_in_another_environment(
    host: Any, tmp_path: Path, start_server: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # limits the output of ps
    home, state_dir = tmp_path / "state" / "home", tmp_path / "state"
    listen = ("codex", "app-server", "--listen", "unix://")
    right = start_server(*listen, CODEX_HOME=str(home), MNGR_AGENT_STATE_DIR=str(state_dir))
    wrong = start_server(*listen, "--managed-daemon", CODEX_HOME=str(home), MNGR_AGENT_STATE_DIR="/elsewhere")
    none = start_server(*listen, CODEX_HOME=str(home))
    start_server(*listen, CODEX_HOME=str(tmp_path))
    start_server("codex", "app-server", CODEX_HOME=str(home))
    start_server(*listen[:3], f"unix://{tmp_path}/own", CODEX_HOME=str(home))
    user = start_server(*listen, HOME=str(tmp_path))
    running = servers.running(processes.running(host))
    found = list(servers.of_agent(running, codex_home=home, state_dir=state_dir, agent="t"))
    assert {(re.findall(r"process (\d+)", each.said)[0], each.level) for each in found} == {
        (str(right), "ok"),
        (str(wrong), "problem"),
        (str(none), "problem"),
    }
    own = tmp_path / ".codex"
    for command, count in (
        ("mngr-codex hook stop", 1),
        ("'/a b/mngr-codex' hook stop", 1),
        ("mngr-codex hook stop --state-dir /x", 0),
        ("true", 0),
    ):
        warnings = list(servers.of_user(running, codex_home=own, hook_commands=[command]))
        assert [f"process {user}" in each.said and each.level == "warning" for each in warnings] == [True] * count


# -- the status


def write_status(state_dir: Path, **changed: Any) -> None:
    (state_dir / paths.STATUS).write_text(json.dumps({"version": 1, "state": "WAITING", **changed}))


def test_a_running_agent_without_a_valid_status(
    host: Any, make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_dir = make_agent()
    assert not problems(host, about="status")
    monkeypatch.setattr(CodexAgent, "get_lifecycle_state", lambda _: AgentLifecycleState.WAITING)
    (missing,) = problems(host, about="status")
    assert missing.level == "warning" and "does not exist" in missing.said
    assert missing.remedy == "run `mngr create t codex --reuse --update`"
    (state_dir / paths.STATUS).write_text("{")
    (damaged,) = problems(host, about="status")
    assert "is damaged" in damaged.said and "run `mngr start t --restart`" in str(damaged.remedy)
    write_status(state_dir)
    assert not problems(host, about="status")
    # Without the native program, as on an unknown platform, nothing writes one.
    (state_dir / paths.STATUS).unlink()
    (state_dir / paths.PROGRAM).unlink()
    assert not problems(host, about="status")


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("You've hit your usage limit.", "fix that, then send the message again"),
        (
            "The 'gpt-9' model is not supported when using Codex with a ChatGPT account.",
            "fall_back_to_account_default_model = true",
        ),
        ("The model `gpt-9` does not exist or you do not have access to it.", "choose another model"),
        ('{"error":{"code":"model_not_found"}}', "choose another model"),
    ],
)
def test_the_error_of_the_latest_turn(host: Any, make_agent: MakeAgent, message: str, hint: str) -> None:
    state_dir = make_agent()
    write_status(state_dir, last_error={"at": "2026-01-05T10:00:00.000Z", "message": message})
    (found,) = problems(host, about="last turn")
    assert (found.said, found.level) == (f"The turn ended with an error: {message}", "warning")
    assert hint in str(found.remedy)
    write_status(state_dir)
    assert not problems(host, about="last turn")


def test_an_agent_with_an_invalid_setting_can_be_examined(host: Any, home: Path) -> None:
    """The agent was created before the setting was changed."""
    config = CodexAgentConfig.model_validate({"config_overrides": "x"})
    assert new_agents_need_login(host, config)
