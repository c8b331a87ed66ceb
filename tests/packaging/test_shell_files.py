"""Completions and manual pages: what the program prints, and what the wheel installs."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.support.program import program, run

SHELLS = ("bash", "elvish", "fish", "powershell", "zsh")

# Prints the words that bash offers for a command line whose last word is incomplete.
COMPLETE = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
function=$(complete -p mngr-codex | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" mngr-codex "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def commands(*path: str) -> list[str]:
    """Returns the subcommands that the help of a command lists, except `help`."""
    section = re.search(r"^Commands:\n((?:  .*\n)+)", run(*path, "--help").stdout.decode(), re.MULTILINE)
    names = re.findall(r"^  (\S+)", section[1], re.MULTILINE) if section else []
    return [name for name in names if name != "help"]


def all_commands(*path: str) -> list[tuple[str, ...]]:
    """Returns the words of the program's commands and of all their subcommands."""
    found: list[tuple[str, ...]] = []
    for name in commands(*path):
        found += [(*path, name), *all_commands(*path, name)]
    return found


@pytest.fixture(scope="module")
def installed() -> dict[str, Path]:
    """The files below `share` that the wheel installed, by their path from there."""
    files = distribution("mngr-codex").files or []
    return {str(file).partition("share/")[2]: Path(str(file.locate())) for file in files if "share" in file.parts}


@pytest.mark.parametrize("shell", SHELLS)
def test_completions_name_every_command(shell: str) -> None:
    completed = run("completions", shell)
    assert completed.status == 0
    words = completed.stdout.decode()
    assert all(name in words for path in all_commands() for name in path)


def test_the_commands_in_the_help_write_the_files(tmp_path: Path) -> None:
    shown = run("completions", "--help").stdout.decode()
    assert all(len(line) < 80 for line in shown.partition("Examples:\n")[2].splitlines())
    (tmp_path / "mngr-codex").symlink_to(program())
    script = "set -e\n" + "\n".join(re.findall(r"^  (.*)", shown.partition("Examples:\n")[2], re.MULTILINE))
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", script], env=environment, check=True, timeout=60)
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*mngr-codex*") if path.stat().st_size}
    files = (".local/share/bash-completion/completions/mngr-codex", ".config/fish/completions/mngr-codex.fish")
    assert written - {"mngr-codex"} == {*files, ".zfunc/_mngr-codex"}


def test_an_unknown_shell_is_refused_with_the_known_ones() -> None:
    refused = run("completions", "tcsh")
    assert refused.status == 2
    assert refused.stdout == b""
    assert all(shell in refused.stderr for shell in SHELLS)


def test_a_full_disk_is_reported() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full on this system")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([program(), "completions", "bash"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(b"mngr-codex: cannot write to standard output: ")


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash
    script = tmp_path / "mngr-codex"
    script.write_bytes(run("completions", "bash").stdout)

    def offered(*words: str) -> list[str]:
        command = [bash, "-c", COMPLETE, "bash", str(script), "mngr-codex", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()

    assert offered("tra") == ["transcript"]
    assert set(commands()) <= set(offered(""))
    assert "--state-dir" in offered("marker", "show", "--st")
    assert not [word for word in offered("transcript", "") if not word.startswith("-")]


@pytest.mark.parametrize("shell", SHELLS)
def test_hidden_options_are_not_offered(shell: str) -> None:
    script = run("completions", shell).stdout.decode()
    assert "no-pager" in script and not re.search(r"(opts=|'--|cand --| -l ).*as-mngr", script)


@pytest.mark.parametrize(
    ("shell", "path"),
    [
        ("bash", "bash-completion/completions/mngr-codex"),
        ("zsh", "zsh/site-functions/_mngr-codex"),
        ("fish", "fish/vendor_completions.d/mngr-codex.fish"),
    ],
)
def test_the_wheel_installs_the_completions_of_its_program(installed: dict[str, Path], shell: str, path: str) -> None:
    own = Path(sys.executable).with_name("mngr-codex")
    printed = subprocess.run([own, "completions", shell], check=True, capture_output=True, timeout=60).stdout
    assert installed[path].read_bytes() == printed


def test_the_wheel_installs_a_manual_page_for_each_command(installed: dict[str, Path]) -> None:
    pages = {Path(path).name: file for path, file in installed.items() if path.startswith("man/man1/")}
    own = [("mngr-codex",), *(("mngr-codex", *path) for path in all_commands())]
    assert set(pages) == {f"{'-'.join(path)}.1" for path in own}
    for path in own:
        page = pages[f"{'-'.join(path)}.1"].read_text()
        assert f".TH {'-'.join(path)} 1" in page
    assert r"\-\-max\-line" in pages["mngr-codex-convert.1"].read_text()
