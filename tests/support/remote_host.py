"""Hosts of their own for tests: an ordinary user, an ssh server, no Python, and none of the tester's files.

    with RemoteHost(machine) as host:
        machine.mngr("create", f"t@{host.name}.{host.provider}", "codex", "--yes", "--no-connect")

A host has its own mount, process, host name and IPC namespaces. Its root file system is an overlay over that of this
machine, so it takes no time to make and no space, and it has the programs of this machine except for those that the
test hides. It shares this machine's network, where the scripted model is. Its files are in memory. Nothing of it is
visible outside: when its processes have ended, the kernel removes its mounts, also after a test that was killed.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Self

from tests.support import emulation
from tests.support.line_proxy import LineProxy
from tests.support.machine import Agent, Machine, until
from tests.support.ports import free_port
from tests.support.rule_based_model import Model

type MakeHost = Callable[..., RemoteHost]

USER = "alice"
HOME = PurePosixPath("/home") / USER
ON_PATH = PurePosixPath("/usr/local/bin/codex")
IN_LOCAL_BIN = HOME / ".local/bin/codex"

_USER_ID = 1000
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = ("bin", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
"""The folders of this machine that a host has. Its others are made for it."""
_EMPTY = ("dev", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "var")
_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")

HIDDEN = ("codex*", "mngr*", "node*", "npm", "npx", "pip*", "python*", "pydoc*", "py3*", "uv", "uvx")
"""The programs of this machine that a host lacks by default."""

_INIT = Path(__file__).with_name("remote_host_init.sh")


class CannotMakeHosts(Exception):
    """This machine cannot make hosts; the text says why."""


@dataclass(frozen=True)
class HomeDisk:
    """A file system of its own for the user's home."""

    megabytes: int = 64
    is_executable: bool = True
    """Whether programs in it can be run."""


@dataclass(frozen=True)
class Options:
    """What a host is like."""

    codex: PurePosixPath | None = ON_PATH
    """Where Codex is, with the other files of its package; `None` if the host has none."""
    has_login: bool = True
    has_user_namespaces: bool = True
    """Whether the user can make namespaces. In containers, such as docker's, it cannot."""
    has_busybox: bool = False
    """Whether busybox's programs come before GNU's."""
    is_aarch64: bool = False
    """Whether `uname` names this CPU, whose programs then run by an emulator. Its users cannot make namespaces."""
    home_disk: HomeDisk | None = None
    hidden: Sequence[str] = field(default=HIDDEN)
    """Patterns of programs of this machine that the host lacks."""


class RemoteHost:
    """A host between `__enter__` and `__exit__`, which the ssh provider `provider` of a machine's mngr has."""

    def __init__(
        self,
        machine: Machine,
        options: Options | None = None,
        *,
        name: str = "box",
        provider: str = "there",
        proxy_delay_seconds: float | None = None,
    ) -> None:
        """Prepares a host.

        Args:
            machine: The machine whose mngr uses the host. Its settings get the host.
            options: What the host is like.
            name: The name of the host.
            provider: The name of the provider in mngr's settings.
            proxy_delay_seconds: If given, mngr reaches the host through `proxy`, with this delay in each direction.
        """
        self.machine = machine
        self.options = options or Options()
        self.name = name
        self.provider = provider
        self.host_dir = HOME / ".mngr"
        self.port = free_port()
        """The port of the ssh server itself."""
        self.proxy = LineProxy(self.port, delay_seconds=proxy_delay_seconds or 0.0)
        self._uses_proxy = proxy_delay_seconds is not None
        self._folder = machine.folder / f"host-{name}"
        self._disk = self._folder / "disk"
        self._root = self._disk / "root"
        self._keeper: subprocess.Popen[bytes] | None = None
        self._first: subprocess.Popen[bytes] | None = None
        self._first_pid = 0
        self._sshd: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The host as mngr's commands take it after `NAME@`."""
        return f"{self.name}.{self.provider}"

    def path(self, inside: PurePosixPath | str) -> Path:
        """Returns the path under which this machine reaches a file of the host.

        It is valid across reboots. It does not lead into `/tmp`, `/run`, `/dev` and `/proc` of the host, and absolute
        symlinks on the way lead to this machine's files.
        """
        assert self._keeper is not None
        return self._seen(self._root / PurePosixPath(inside).relative_to("/"))

    def _seen(self, path: Path) -> Path:
        """Returns a path in the mount namespace of the host's disk as this machine reaches it."""
        assert self._keeper is not None
        return Path(f"/proc/{self._keeper.pid}/root") / path.relative_to("/")

    # -- making it

    def __enter__(self) -> Self:
        try:
            self._disk.mkdir(parents=True)
            self._make_keys()
            self._make_disk()
            self._make_user()
            if self.options.codex:
                self._put_codex(self.options.codex)
            if self.options.has_busybox:
                self._put_busybox()
            if self.options.is_aarch64:
                machine = platform.machine()
                self.add_program("uname", f'/usr/bin/uname "$@" | sed "s/{machine}/{emulation.MACHINE}/g"\n')
            self.boot()
            if self._uses_proxy:
                self.proxy.__enter__()
            self._add_to_settings()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.shut_down()
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.wait()
            _close(self._keeper)
        if self.proxy.port:
            self.proxy.__exit__()

    def _make_keys(self) -> None:
        for name in ("host_key", "user_key"):
            key = self._folder / name
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key], check=True)

    def _make_disk(self) -> None:
        """Mounts the root file system in a mount namespace, which a process keeps while the host is down."""
        # `read` ends with this process, in whatever way that ends, and then the namespace ends.
        waits = ["unshare", "--mount", "sh", "-c", "echo; read -r _"]
        self._keeper = subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        _read_line(self._keeper.stdout, "the mount namespace of the host")
        self._mount("-t", "tmpfs", "-o", "mode=755,size=75%", "tmpfs", self._disk)
        upper, work = self._disk / "upper", self._disk / "work"
        for each in (upper, work, self._root):
            self._seen(each).mkdir()
        self._prepare(self._seen(upper))
        layers = f"lowerdir=/,upperdir={upper},workdir={work}"
        self._mount("-t", "overlay", "-o", layers, "overlay", self._root)
        home = self.path(HOME)
        home.mkdir()
        if disk := self.options.home_disk:
            flags = f"size={disk.megabytes}m,mode=755,{'exec' if disk.is_executable else 'noexec'}"
            self._mount("-t", "tmpfs", "-o", flags, "tmpfs", self._root / HOME.relative_to("/"))

    def _prepare(self, upper: Path) -> None:
        """Hides what a host must not have of this machine, before the overlay is mounted."""
        for entry in Path("/").iterdir():
            if entry.name in _EMPTY:
                _empty_folder(upper / entry.name)
            elif entry.name not in _KEPT:
                _hide(upper / entry.name)
        for name in _EMPTY:
            (upper / name).mkdir(exist_ok=True)
        _empty_folder(upper / "usr/local")
        for name in ("bin", "games", "lib", "sbin", "share"):
            (upper / "usr/local" / name).mkdir()
        for name in ("cache", "lib", "log", "mail", "spool", "tmp"):
            (upper / "var" / name).mkdir()
        (upper / "var/tmp").chmod(0o1777)
        (upper / "var/run").symlink_to("/run")
        (upper / "root").chmod(0o700)
        _empty_folder(upper / "etc/profile.d")
        for folder in ("usr/bin", "usr/sbin", "bin", "sbin"):
            if not (Path("/") / folder).is_symlink():
                for pattern in self.options.hidden:
                    for program in Path("/", folder).glob(pattern):
                        _hide(upper / folder / program.name)

    def _make_user(self) -> None:
        """Creates the user, with the files that Debian gives a new one."""
        # The password `*` fits none, but unlike `!` it does not lock the account for sshd.
        own = {
            "passwd": f"{USER}:x:{_USER_ID}:{_USER_ID}:Alice,,,:{HOME}:/bin/bash",
            "group": f"{USER}:x:{_USER_ID}:",
            "shadow": f"{USER}:*:19000:0:99999:7:::",
        }
        lines = {name: (Path("/etc") / name).read_text().splitlines() for name in own}
        accounts = {line.split(":")[0] for line in lines["passwd"] if _is_of_the_system(line)}
        kept = {
            "passwd": [line for line in lines["passwd"] if line.split(":")[0] in accounts],
            "group": [line for line in lines["group"] if _is_of_the_system(line)],
            "shadow": [line for line in lines["shadow"] if line.split(":")[0] in accounts],
        }
        for name, line in own.items():
            self.path(f"/etc/{name}").write_text("\n".join([*kept[name], line]) + "\n")
        self.path("/etc/hostname").write_text(f"{self.name}\n")
        self.path("/etc/hosts").write_text(f"127.0.0.1 localhost {self.name}\n")
        skeleton = Path("/etc/skel")
        for entry in skeleton.iterdir() if skeleton.is_dir() else ():
            if entry.is_file():
                shutil.copy(entry, self.path(HOME / entry.name))
        ssh = self.path(HOME / ".ssh")
        ssh.mkdir(mode=0o700)
        shutil.copy(self._folder / "user_key.pub", ssh / "authorized_keys")
        if self.options.has_login:
            (self.path(HOME) / ".codex").mkdir(mode=0o700)
            self.write(HOME / ".codex/auth.json", (self.machine.home / ".codex" / "auth.json").read_text(), mode=0o600)
        self._give_home_to_user()
        key = self.path("/etc/ssh/host_key")
        shutil.copy(self._folder / "host_key", key)
        key.chmod(0o600)
        # No process may reach the network.
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        closed = " ".join(f'"{name}=http://127.0.0.1:9"' for name in proxies)
        self.path("/etc/ssh/sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey /etc/ssh/host_key\nPidFile none\nUsePAM no\n"
            "PasswordAuthentication no\nPermitRootLogin no\nAcceptEnv LANG LC_*\nMaxStartups 100\n"
            f'Subsystem sftp internal-sftp\nSetEnv {closed} "NO_PROXY=127.0.0.1,localhost"\n'
        )

    def _give_home_to_user(self) -> None:
        home = self.path(HOME)
        for path in (home, *home.rglob("*")):
            os.chown(path, _USER_ID, _USER_ID, follow_symlinks=False)

    def _put_codex(self, place: PurePosixPath) -> None:
        """Mounts the files of Codex's package: the program at its place, the others where it looks for them."""
        native = native_codex(self.machine.codex)
        self._put_file(native, place)
        package = native.parent.parent
        if not (package / "codex-package.json").exists():
            return
        for entry in (*native.parent.iterdir(), *package.iterdir()):
            if entry != native and entry.name.startswith("codex-"):
                inside = (place.parent if entry.parent == native.parent else place.parent.parent) / entry.name
                self._put_file(entry, inside)

    def _put_file(self, source: Path, inside: PurePosixPath) -> None:
        """Mounts a file or folder of this machine, because copies of Codex would take 0.4 GB of memory."""
        target = self.path(inside)
        missing = [each for each in reversed(target.parents) if not each.exists()]
        for each in missing:
            each.mkdir()
            if inside.is_relative_to(HOME):
                os.chown(each, _USER_ID, _USER_ID)
        if source.is_dir():
            target.mkdir()
        else:
            target.touch()
        self._mount("--bind", source, self._root / inside.relative_to("/"))

    def _put_busybox(self) -> None:
        busybox = shutil.which("busybox")
        if busybox is None:
            raise CannotMakeHosts("busybox is not installed (apt install busybox-static)")
        applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for applet in applets:
            (self.path("/usr/local/bin") / applet).symlink_to(busybox)

    def _mount(self, *arguments: str | Path) -> None:
        assert self._keeper is not None
        namespace = f"--mount=/proc/{self._keeper.pid}/ns/mnt"
        ran = subprocess.run(["nsenter", namespace, "mount", *arguments], capture_output=True, text=True)
        if ran.returncode != 0:
            raise CannotMakeHosts(f"cannot mount the files of a host: {ran.stderr.strip()}")

    def _add_to_settings(self) -> None:
        port = self.proxy.port if self._uses_proxy else self.port
        known_hosts = self._folder / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{port} {(self._folder / 'host_key.pub').read_text()}")
        self.machine.add_ssh_host(
            self.provider,
            self.name,
            host_dir=self.host_dir,
            address="127.0.0.1",
            port=port,
            user=USER,
            key_file=str(self._folder / "user_key"),
            known_hosts_file=str(known_hosts),
        )

    # -- its life

    def boot(self) -> None:
        """Starts the host and its ssh server."""
        assert self._keeper is not None
        # In a chroot none can be made. A user namespace cannot unmount what was mounted outside.
        pivot = "yes" if self.options.has_user_namespaces and not self.options.is_aarch64 else "no"
        command: list[str | Path] = ["nsenter", f"--mount=/proc/{self._keeper.pid}/ns/mnt"]
        if self.options.is_aarch64:
            command += [sys.executable, emulation.__file__]
        command += ["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--kill-child"]
        command += ["bash", _INIT, self._root, self.name, pivot, *_DEVICES]
        log = (self._folder / "boot.log").open("ab")
        with log:
            self._first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        try:
            self._first_pid = int(_read_line(self._first.stdout, "the host's first process"))
        except CannotMakeHosts as error:
            raise CannotMakeHosts(f"{error}\n{(self._folder / 'boot.log').read_text()}") from None
        self.start_sshd()

    def shut_down(self) -> None:
        """Ends the host at once, as if its power was cut. Its disk stays."""
        if self._first is None:
            return
        if self._first_pid:
            # All processes of a process namespace end with its first one.
            with suppress(ProcessLookupError):
                os.kill(self._first_pid, signal.SIGKILL)
        else:
            self._first.kill()
        self._first.wait()
        _close(self._first)
        if self._sshd is not None:
            self._sshd.wait()
        self._first, self._first_pid, self._sshd = None, 0, None

    def reboot(self) -> None:
        """Shuts the host down without a warning to its processes, and starts it again from the same disk."""
        self.shut_down()
        self.boot()

    def start_sshd(self) -> None:
        """Starts the ssh server, and waits until it accepts connections."""
        with (self._folder / "sshd.log").open("ab") as log:
            self._sshd = subprocess.Popen(
                [*self._entering(), "/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/sshd_config"],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

        def is_listening() -> bool:
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", self.port)) == 0

        until(is_listening, description="the ssh server", seconds=20)

    def kill_sshd(self) -> None:
        """Kills the ssh server with the processes of its connections. What these have started goes on."""
        for pid in self.pids():
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip().startswith("sshd"):
                    os.kill(pid, signal.SIGKILL)
        if self._sshd is not None:
            self._sshd.wait()
            self._sshd = None

    @contextmanager
    def without_sshd(self) -> Iterator[None]:
        """Kills the ssh server, and starts it again at the end."""
        self.kill_sshd()
        try:
            yield
        finally:
            self.start_sshd()

    def pids(self) -> list[int]:
        """Returns the ids, on this machine, of all processes of the host."""
        with suppress(OSError):
            namespace = os.readlink(f"/proc/{self._first_pid}/ns/pid")
            found = []
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if os.readlink(process / "ns/pid") == namespace:
                        found.append(int(process.name))
            return found
        return []

    # -- its files and commands

    def write(self, inside: PurePosixPath | str, text: str, *, mode: int = 0o644) -> None:
        """Writes a file, which belongs to the user if it is in the home."""
        file = self.path(inside)
        file.write_text(text)
        file.chmod(mode)
        if PurePosixPath(inside).is_relative_to(HOME):
            os.chown(file, _USER_ID, _USER_ID)

    def add_program(self, name: str, script: str) -> None:
        """Adds a shell script to PATH, before the system's programs."""
        self.write(f"/usr/local/bin/{name}", f"#!/bin/sh\n{script}", mode=0o755)

    def run(self, command: str, *, user: str = USER, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a shell command on the host, without ssh, in the home and with Debian's PATH for users."""
        home = HOME if user == USER else PurePosixPath("/root")
        environment = [f"HOME={home}", f"USER={user}", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/games", "LANG=C.UTF-8"]
        words = ["/usr/bin/setpriv", *(["--reuid", user, "--regid", user, "--init-groups"] if user != "root" else [])]
        words += ["/usr/bin/env", "-i", *environment, "sh", "-c", f"cd; {command}"]
        ran = subprocess.run([*self._entering(), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert not check or ran.returncode == 0, f"{command} exited with {ran.returncode} on the host: {ran.stderr}"
        return ran

    def _entering(self) -> list[str]:
        namespaces = ["--mount", "--pid", "--uts", "--ipc", *(["--user"] if self.options.is_aarch64 else [])]
        command = ["nsenter", "--target", str(self._first_pid), *namespaces, f"--root=/proc/{self._first_pid}/cwd"]
        return [*command, f"--wd=/proc/{self._first_pid}/cwd", "env", "-i", f"PATH={_DEFAULT_PATH}"]

    def ssh_command(self) -> list[str]:
        """Returns the beginning of a command that runs one as the user over ssh, through the proxy if there is one."""
        port = self.proxy.port if self._uses_proxy else self.port
        options = ["-o", f"UserKnownHostsFile={self._folder / 'known_hosts'}", "-o", "BatchMode=yes", "-F", "none"]
        key = ["-i", str(self._folder / "user_key"), "-o", "IdentitiesOnly=yes"]
        return ["ssh", *options, *key, "-p", str(port), f"{USER}@127.0.0.1"]

    def fill_disk(self) -> None:
        """Fills the file system of the home, which must have one of its own."""
        assert self.options.home_disk, "the home has no file system of its own"
        with suppress(OSError), self.path(HOME / ".filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(2**20)):
                pass
        # A last page that is not full would let short writes pass.
        with suppress(OSError), self.path(HOME / ".filler").open("ab", buffering=0) as filler:
            while filler.write(b"\0"):
                pass

    def free_disk(self) -> None:
        """Removes what `fill_disk` has written."""
        self.path(HOME / ".filler").unlink()

    # -- its agents

    def agent(self, name: str = "t") -> RemoteAgent:
        """Returns the agent of this name."""
        for state in self.path(self.host_dir / "agents").glob("*"):
            data = state / "data.json"
            if data.exists() and json.loads(data.read_text())["name"] == name:
                return RemoteAgent(self.machine, name, state, self)
        raise LookupError(name)

    def create(self, name: str = "t", *arguments: str, status: int = 0) -> RemoteAgent:
        """Creates an agent on the host."""
        place = f"{name}@{self.address}"
        self.machine.mngr("create", place, "codex", "--yes", "--no-connect", *arguments, status=status)
        return self.agent(name)

    def tail_of_logs(self) -> str:
        """Returns the last lines of the ssh server's log, for the message of a failed test."""
        return "\n".join((self._folder / "sshd.log").read_text(errors="replace").splitlines()[-20:])


@dataclass(frozen=True)
class RemoteAgent(Agent):
    """An agent on a made host. `state` is its state directory as this machine reaches it."""

    host: RemoteHost

    @property
    def state_on_host(self) -> PurePosixPath:
        """The state directory as the host sees it."""
        return self.host.host_dir / "agents" / self.state.name

    def rollouts(self) -> bytes:
        """Returns the complete lines of all rollouts of the agent's sessions, in order."""
        files = sorted((self.state / "plugin/codex/home/sessions").rglob("rollout-*.jsonl"))
        return b"".join(line for file in files for line in file.read_bytes().splitlines(True) if line.endswith(b"\n"))

    def received(self) -> list[str]:
        """Returns the user's messages in the rollouts. A line that a full disk has cut is skipped."""
        found = []
        for line in self.rollouts().splitlines():
            with suppress(json.JSONDecodeError):
                item = json.loads(line)["payload"]
                if item.get("type") == "message" and item["role"] == "user":
                    text = "".join(part.get("text", "") for part in item["content"])
                    # Codex writes its own texts in the user's role.
                    found += [] if text.startswith("<") else [text]
        return found

    def _tmux(self, *arguments: str) -> str:
        words = " ".join(f"'{each}'" for each in (*arguments[:1], "-t", f"=mngr-{self.name}:agent", *arguments[1:]))
        return self.host.run(f"tmux {words}").stdout

    def pane(self) -> str:
        """Returns the text on the agent's terminal."""
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        """Presses keys in the agent's terminal."""
        self._tmux("send-keys", *keys)

    def _needle(self) -> bytes:
        return f"MNGR_AGENT_STATE_DIR={self.state_on_host}".encode()


@dataclass(frozen=True)
class SharedHost:
    """A machine with a remote host, for the tests of a module."""

    host: RemoteHost
    model: Model

    @property
    def machine(self) -> Machine:
        """The machine whose mngr uses the host."""
        return self.host.machine


def native_codex(codex: Path) -> Path:
    """Returns Codex's binary, which npm's `codex` is a script around."""
    with codex.open("rb") as file:
        if file.read(4) == b"\x7fELF":
            return codex.resolve()
    packages = codex.resolve().parents[2]
    for binary in packages.glob("codex-*/vendor/*/bin/codex"):
        return binary
    raise CannotMakeHosts(f"cannot find the binary of {codex}")


@functools.cache
def reason_against_hosts() -> str | None:
    """Returns why this machine cannot make hosts, or `None` if it can."""
    if not shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        return "sshd is not installed (apt install openssh-server)"
    missing = [
        name for name in ("mount", "nsenter", "setpriv", "ssh", "ssh-keygen", "unshare") if not shutil.which(name)
    ]
    if missing:
        return f"not installed: {', '.join(missing)} (apt install util-linux mount openssh-client)"
    if os.getuid() != 0:
        return "hosts with their own file system and processes can only be made by root"
    with tempfile.TemporaryDirectory() as name:
        layers = f"lowerdir=/,upperdir={name}/upper,workdir={name}/work"
        script = f"mount -t tmpfs t {name} && cd {name} && mkdir upper work root && mount -t overlay -o {layers} o root"
        ran = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script], capture_output=True, text=True
        )
    return None if ran.returncode == 0 else f"the kernel refuses namespaces or an overlay: {ran.stderr.strip()}"


def _is_of_the_system(line: str) -> bool:
    """Whether a line of `passwd` or `group` is not of a person of this machine."""
    return int(line.split(":")[2]) < _USER_ID or line.startswith(("nobody:", "nogroup:"))


def _empty_folder(folder: Path) -> None:
    """Creates a folder of the overlay that hides the content of the one below it."""
    folder.mkdir(parents=True, exist_ok=True)
    os.setxattr(folder, "trusted.overlay.opaque", b"y")


def _hide(path: Path) -> None:
    """Hides an entry of the file system below the overlay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _read_line(stream: IO[bytes] | None, description: str) -> str:
    assert stream is not None
    line = stream.readline().decode().strip(" ")
    if not line.endswith("\n"):
        raise CannotMakeHosts(f"{description} could not be started")
    return line.strip()
