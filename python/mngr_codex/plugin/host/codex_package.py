"""Sends Codex from this machine to a host that has no program to install it.

The package is that of PyPI for the host's platform, with the programs that Codex looks for beside itself. If this
machine has the right Codex itself, nothing is downloaded. The package is compressed into an archive once, which is kept
for the next host. A transfer that breaks continues where it stopped.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from imbue.mngr.errors import AgentInstallationError, CommandTimeoutError
from loguru import logger

from mngr_codex.plugin.host.connection import run_with_input
from mngr_codex.plugin.host.files import last_line
from mngr_codex.plugin.host.installer import NPM_PACKAGE, PYPI_PACKAGE, reason_of
from mngr_codex.plugin.host.place import HostPlace
from mngr_codex.plugin.host.program import Platform, platform_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.host.facts import HostFacts

_LAYOUT = "codex-package.json"
"""The file that marks the root of Codex's package, in wheels and in npm's packages (0.138 to 0.171)."""
_CODEX = "bin/codex"


class _Names(NamedTuple):
    """How the programs that download packages name a platform."""

    npm: str
    pip: str
    uv: str


_NAMES = {
    Platform("Linux", "x86_64"): _Names("linux-x64", "manylinux_2_17_x86_64", "x86_64-unknown-linux-gnu"),
    Platform("Linux", "aarch64"): _Names("linux-arm64", "manylinux_2_17_aarch64", "aarch64-unknown-linux-gnu"),
    Platform("Darwin", "x86_64"): _Names("darwin-x64", "macosx_11_0_x86_64", "x86_64-apple-darwin"),
    Platform("Darwin", "aarch64"): _Names("darwin-arm64", "macosx_11_0_arm64", "aarch64-apple-darwin"),
}

_CHUNK_BYTES = 8 * 2**20
_DOWNLOAD_SECONDS = 600.0
_CHUNK_SECONDS = 300.0
_UNPACK_SECONDS = 300.0
_COMPRESSION = 1
_MARGIN_BYTES = 16 * 2**20
_TEMPORARY = ".new-"


class PackageError(Exception):
    """There is no package of Codex to send; the message is the reason."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A compressed package of Codex on this machine."""

    path: Path
    version: str
    size: int
    """In bytes."""
    unpacked_size: int
    """In bytes."""
    sha256: str


def send(host: OnlineHostInterface, facts: HostFacts, version: str | None) -> None:
    """Installs Codex on a host: into ``~/.local/share/mngr-codex/codex/VERSION``, with a link in ``~/.local/bin``.

    Args:
        host: The host.
        facts: The facts about it.
        version: The version to install; None for this machine's own, or else the newest.

    Raises:
        AgentInstallationError: That failed.
        HostConnectionError: The connection to the host cannot be restored.
    """
    place = HostPlace.of(host)
    install = f"install Codex yourself{place.there}, on PATH or in ~/.local/bin"
    try:
        archive = archive_for(facts.platform, version)
    except PackageError as error:
        raise AgentInstallationError(f"cannot send Codex to {place}: {error}\nhint: {install}") from None
    logger.warning(
        "Codex {} will be sent from this machine to {} ({} MB, into ~/.local).",
        archive.version,
        place,
        archive.size // 1_000_000,
    )
    try:
        _transfer(host, archive)
    except (PackageError, CommandTimeoutError) as error:
        raise AgentInstallationError(
            f"cannot send Codex to {place}: {error}\nhint: try again, which continues the transfer; or {install}"
        ) from None


# -- the package


def archive_for(platform: Platform, version: str | None) -> Archive:
    """Returns an archive of Codex for a platform: a kept one, or a new one.

    Args:
        platform: The host's platform.
        version: The version; None for this machine's own Codex, or else the newest.

    Raises:
        PackageError: There is none, or this machine cannot read or write it.
    """
    if platform not in _NAMES:
        raise PackageError(f"there is no package of Codex for its platform ({platform})")
    try:
        return _archive_for(platform, version)
    # tarfile raises a ValueError for a file that its format cannot describe.
    except (OSError, ValueError) as error:
        raise PackageError(f"this machine cannot put Codex into an archive: {error}") from error


def _archive_for(platform: Platform, version: str | None) -> Archive:
    own = own_package()
    own_version = version_of(own) if own else None
    if own and own_version and version in {None, own_version} and _platform(own) == platform:
        return _kept(platform, own_version) or _pack(own, platform, own_version)
    wanted = version or own_version
    if wanted and (kept := _kept(platform, wanted)):
        return kept
    with tempfile.TemporaryDirectory(prefix="mngr-codex-") as name:
        root = download(platform, wanted, Path(name))
        found = version_of(root)
        if found is None:
            raise PackageError(f"the package has no {_LAYOUT} with its version")
        return _pack(root, platform, found)


def own_package() -> Path | None:
    """Returns the root of the package of this machine's own Codex; None if there is none of a known form."""
    found = shutil.which("codex")
    if found is None:
        return None
    program = Path(found).resolve()
    # npm's `codex` is a script, and the package is a dependency of its own.
    npm = program.parent.parent
    roots = [npm, *npm.parent.glob("codex-*/vendor/*"), *npm.glob("node_modules/@openai/codex-*/vendor/*")]
    return next((root for root in roots if (root / _LAYOUT).is_file() and (root / _CODEX).is_file()), None)


def version_of(root: Path) -> str | None:
    """Returns the version of a package; None if it does not name one."""
    try:
        layout = json.loads((root / _LAYOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    version = layout.get("version") if isinstance(layout, dict) else None
    return version if isinstance(version, str) and version.replace(".", "").replace("-", "").isalnum() else None


def _platform(root: Path) -> Platform | None:
    with (root / _CODEX).open("rb") as file:
        return platform_of(file.read(64))


def download(platform: Platform, version: str | None, folder: Path) -> Path:
    """Downloads Codex for a platform with this machine's npm, uv or pip, and returns the root of the package.

    Args:
        platform: The platform.
        version: The version; None for the newest.
        folder: An empty folder for it.

    Raises:
        PackageError: That failed. The message has the reason of the last one.
    """
    reason = "this machine has none of npm, uv and pip to download it"
    for name, script in _downloads(platform, version):
        logger.info("Downloading Codex {} for {} with {}...", version or "(the newest)", platform, name)
        try:
            ran = subprocess.run(
                ["sh", "-c", script], cwd=folder, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS
            )
        except subprocess.TimeoutExpired:
            reason = f"{name} has not downloaded it here within {_DOWNLOAD_SECONDS:.0f} s"
            continue
        roots = [*folder.glob("codex_cli_bin"), *folder.glob("package/vendor/*")]
        if ran.returncode == 0 and roots and (roots[0] / _CODEX).is_file():
            return roots[0]
        reason = f"{name} cannot download it here: {reason_of(f'{ran.stderr}{ran.stdout}')}"
    raise PackageError(reason)


def _downloads(platform: Platform, version: str | None) -> Iterator[tuple[str, str]]:
    """Yields this machine's programs that can download Codex, each with the script that does."""
    names = _NAMES[platform]
    if shutil.which("npm"):
        wanted = shlex.quote(version) if version else f"$(npm view {NPM_PACKAGE}@latest version)"
        package = f'"{NPM_PACKAGE}@"{wanted}-{names.npm}'
        yield "npm", f"npm pack --silent --fetch-retries=1 {package} && tar -xzf openai-codex-*.tgz"
    requirement = shlex.quote(f"{PYPI_PACKAGE}=={version}" if version else PYPI_PACKAGE)
    common = f"--quiet --no-deps --only-binary :all: --target . {requirement}"
    if shutil.which("uv"):
        python = shlex.quote(sys.executable)
        yield "uv", f"uv pip install --python {python} --python-platform {names.uv} {common}"
    for python in filter(None, (sys.executable, shutil.which("python3"))):
        if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
            options = "--disable-pip-version-check --retries 1"
            yield "pip", f"{shlex.quote(python)} -m pip install {options} --platform {names.pip} {common}"
            return


# -- the archive


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "mngr-codex" / "codex"


def _paths(platform: Platform, version: str) -> tuple[Path, Path]:
    name = f"codex-{version}-{platform.folder}"
    return _folder() / f"{name}.tar.gz", _folder() / f"{name}.json"


def _kept(platform: Platform, version: str) -> Archive | None:
    """Returns the archive of a version if it was kept."""
    path, description = _paths(platform, version)
    try:
        known = json.loads(description.read_text(encoding="utf-8"))
        archive = Archive(path=path, version=version, **known)
        is_whole = path.stat().st_size == archive.size
    except (OSError, ValueError, TypeError):
        return None
    return archive if is_whole else None


def _pack(root: Path, platform: Platform, version: str) -> Archive:
    """Compresses a package into an archive, which replaces those of other versions.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: The format of the archive has no place for a file.
    """
    path, description = _paths(platform, version)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kept := _kept(platform, version):
            # Another process was first.
            return kept
        logger.info("Compressing Codex {} for {}...", version, platform)
        # Those with the temporary prefix are of processes that were killed.
        for pattern in (f"codex-*-{platform.folder}.*", f"{_TEMPORARY}*"):
            for old in path.parent.glob(pattern):
                old.unlink(missing_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_TEMPORARY, delete=False) as file:
            new = Path(file.name)
            try:
                unpacked = _write_archive(root, file)
                file.flush()
                digest = _sha256(new)
                size = new.stat().st_size
                new.replace(path)
            finally:
                new.unlink(missing_ok=True)
        known: dict[str, Any] = {"size": size, "unpacked_size": unpacked, "sha256": digest}
        description.write_text(json.dumps(known) + "\n", encoding="utf-8")
    return Archive(path=path, version=version, **known)


def _write_archive(root: Path, file: IO[bytes]) -> int:
    """Writes an archive whose bytes depend on the package alone, and returns the size of its content."""
    size = 0

    def simplified(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        nonlocal size
        if entry.name.endswith((".pyc", ".py", "__pycache__")):
            return None
        size += entry.size
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for entry in sorted(root.iterdir()):
            archive.add(entry, entry.name, filter=simplified)
    return size


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- the transfer

# The part is named after the content, so another transfer of the same archive continues it.
_BEGIN = """\
umask 022
for tool in tar gzip; do
    command -v $tool >/dev/null || {{ echo "it has no $tool" >&2; exit 1; }}
done
folder=$HOME/.local/share/mngr-codex
mkdir -p "$folder/codex" "$HOME/.local/bin" || exit 1
free=$(df -Pk "$folder" | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)
if [ "$free" -lt {needed} ]; then
    echo "$((free / 1024)) MB are free in $folder, and $(({needed} / 1024)) MB are needed" >&2
    exit 1
fi
part=$folder/{part}
for old in "$folder"/codex-*.part; do
    [ "$old" = "$part" ] || rm -f "$old"
done
# What a killed process has unpacked. Unpacking takes a few minutes at most.
find "$folder/codex" -maxdepth 1 -name '.new-*' -mmin +60 -exec rm -rf {{}} +
if [ -f "$part" ] && [ "$(wc -c <"$part")" -gt {size} ]; then rm -f "$part"; fi
if [ -f "$part" ]; then wc -c <"$part"; else echo 0; fi
"""
# A chunk is appended only where it belongs, so a chunk that is sent twice does no harm. A lock is not needed: what two
# transfers have mixed up is found by the checksum.
_APPEND = """\
part=$HOME/.local/share/mngr-codex/{part}
have=0
[ ! -f "$part" ] || have=$(wc -c <"$part")
if [ "$have" -eq {offset} ]; then
    cat >>"$part" || {{ echo "$part cannot be written" >&2; exit 1; }}
else
    cat >/dev/null
fi
wc -c <"$part"
"""
_FINISH = """\
umask 022
folder=$HOME/.local/share/mngr-codex
part=$folder/{part} installed=$folder/codex/{version} link=$HOME/.local/bin/codex
# The line can break after an earlier run has done everything.
[ -f "$part" ] || {{ [ -x "$link" ] && [ "$link" -ef "$installed/bin/codex" ] && exit 0; }}
if command -v sha256sum >/dev/null; then sum=$(sha256sum <"$part"); else sum=$(shasum -a 256 <"$part"); fi
case $sum in
{sha256}*) ;;
*)
    rm -f "$part"
    echo 'the archive was damaged on the way' >&2
    exit 1
    ;;
esac
new=$(mktemp -d "$folder/codex/.new-XXXXXX") && chmod 755 "$new" || exit 1
gzip -dc <"$part" | tar -xf - -C "$new" && [ -x "$new/bin/codex" ] || {{
    rm -rf "$new"
    echo 'the archive cannot be unpacked' >&2
    exit 1
}}
if [ -e "$installed" ]; then
    mv "$installed" "$new.old" && rm -rf "$new.old"
fi
mv "$new" "$installed" || exit 1
ln -s "$installed/bin/codex" "$link.new-$$" && mv -f "$link.new-$$" "$link" || exit 1
rm -f "$part"
"""


def _transfer(host: OnlineHostInterface, archive: Archive) -> None:
    """Sends an archive to a host in chunks and unpacks it there.

    Raises:
        PackageError: The host refuses it; the message is the reason.
    """
    part = f"codex-{archive.sha256[:16]}.part"
    needed = (archive.size + archive.unpacked_size + _MARGIN_BYTES) // 1024

    def run(script: str, content: bytes = b"", *, seconds: float = _CHUNK_SECONDS) -> bytes:
        ran = run_with_input(host, script, content, timeout_seconds=seconds)
        if ran.status != 0:
            raise PackageError(last_line(ran))
        return ran.stdout

    def size_after(script: str, content: bytes = b"") -> int:
        # A shell's startup files may print lines before it.
        *_, size = run(script, content).split() or [b""]
        if not size.isdigit():
            raise PackageError("it did not report how much has arrived")
        return int(size)

    try:
        file = archive.path.open("rb")
    except OSError as error:
        raise PackageError(f"cannot read {archive.path} on this machine: {error.strerror}") from None
    with file:
        offset = size_after(_BEGIN.format(part=part, needed=needed, size=archive.size))
        told = 0
        while offset < archive.size:
            file.seek(offset)
            offset = size_after(_APPEND.format(part=part, offset=offset), file.read(_CHUNK_BYTES))
            percent = 100 * offset // archive.size
            if percent >= told + 10:
                told = percent - percent % 10
                logger.info("Sent {} % of Codex", told)
    run(_FINISH.format(part=part, version=archive.version, sha256=archive.sha256), seconds=_UNPACK_SECONDS)
