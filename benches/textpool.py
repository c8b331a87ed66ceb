"""Pools of escaped text for the synthetic rollouts of `generate.py`.

Text is built once, in blocks that resemble the text an agent reads and writes (source code, compiler and test output,
listings, diffs, logs, prose). It is escaped as in Codex and stored in one long byte string with known cut points. So a
text of a given size takes one search and one slice, and no encoding.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable
from random import Random

_STEMS = (  # noqa: SIM905 - a list would fill a page
    "parse read write load store flush merge split index cursor window buffer record header token offset chunk queue "
    "worker event session stream result state config client server handler request response cache entry value key "
    "node tree path file line column span error context reader writer scanner batch limit count total retry timeout"
).split()
_FOLDERS = ("src", "tests", "lib", "internal", "pkg", "core", "app", "tools")
_SUFFIXES = ("py", "rs", "go", "ts", "c", "h", "toml", "md")
_PROSE_WORDS = (  # noqa: SIM905 - a list would fill a page
    "the a this that we it now then here change test tests file function value field record line buffer offset call "
    "output reader writer keeps needs returns checks fails passes after before because when while only still first "
    "last same new old next one two every each with without from into over under is was are should will can may also "
    "already instead directly again and or but so not more less"
).split()
_WIDE_PHRASES = (
    "これは設定ファイルです",
    "次の行を読み込みます",
    "解析结果已保存",
    "请先运行测试",
    "오류를 확인하세요",
    "Größe überprüfen und zurückgeben",
    "déjà exécuté à l'étape précédente",
    "señal no válida en la línea",
    "проверка длины строки",
    "✅ готово 🎉",
    "🚀 build finished — 100 %",
    "│ ├── résumé.txt └── naïve.md │",
    "→ naïve façade “quoted” … 😀",
)

_WIDE_SHARE = 0.14
"""The share of texts taken from the pool with non-ASCII lines. About one text in ten then contains such a line."""

Block = Callable[[Random, bool], str]


def _name(rng: Random) -> str:
    return f"{rng.choice(_STEMS)}_{rng.choice(_STEMS)}"


def _path(rng: Random) -> str:
    return f"{rng.choice(_FOLDERS)}/{rng.choice(_STEMS)}/{_name(rng)}.{rng.choice(_SUFFIXES)}"


def _phrase(rng: Random, wide: bool) -> str:
    """Returns a short remark, with non-ASCII characters if `wide`."""
    if wide:
        return rng.choice(_WIDE_PHRASES)
    return " ".join(rng.choice(_PROSE_WORDS) for _ in range(rng.randint(3, 8)))


def _python_code(rng: Random, wide: bool) -> str:
    name, arg, item = _name(rng), rng.choice(_STEMS), rng.choice(_STEMS)
    return (
        f"def {name}({arg}: dict[str, object], *, limit: int = {rng.randint(1, 4096)}) -> list[str]:\n"
        f'    """{_phrase(rng, wide).capitalize()}."""\n'
        f"    found: list[str] = []\n"
        f'    for {item} in {arg}.get("{rng.choice(_STEMS)}", []):  # {_phrase(rng, wide)}\n'
        f'        if not isinstance({item}, str) or re.search(r"^\\s*{item}\\d+$", {item}):\n'
        f"            continue\n"
        f'        found.append(f"{{{item}!r}}: {rng.choice(_STEMS)}={{limit}}")\n'
        f"        if len(found) >= limit:\n"
        f"            raise {rng.choice(_STEMS).capitalize()}Error('{_phrase(rng, False)}')\n"
        f"    return found\n\n\n"
    )


def _go_code(rng: Random, wide: bool) -> str:
    name, other = rng.choice(_STEMS).capitalize(), rng.choice(_STEMS)
    return (
        f"// {name}{other.capitalize()} {_phrase(rng, wide)}\n"
        f"func (s *{name}) {other.capitalize()}(ctx context.Context, n int) ([]byte, error) {{\n"
        f"\tbuf := make([]byte, 0, {rng.randint(16, 65536)})\n"
        f"\tfor i := 0; i < n; i++ {{\n"
        f"\t\tif err := s.{_name(rng)}(ctx, &buf); err != nil {{\n"
        f'\t\t\treturn nil, fmt.Errorf("{_phrase(rng, False)} %d: %w", i, err)\n'
        f"\t\t}}\n"
        f"\t}}\n"
        f"\treturn buf, nil\n"
        f"}}\n\n"
    )


def _compiler_output(rng: Random, wide: bool) -> str:
    line, name = rng.randint(2, 1800), _name(rng)
    return (
        f"   Compiling {rng.choice(_STEMS)}-{rng.choice(_STEMS)} v0.{rng.randint(0, 40)}.{rng.randint(0, 9)}\n"
        f"error[E0{rng.randint(100, 700)}]: {_phrase(rng, wide)}\n"
        f"   --> {_path(rng)}:{line}:{rng.randint(1, 80)}\n"
        f"    |\n"
        f'{line:<4}|     let {name} = {_name(rng)}(&mut {rng.choice(_STEMS)}, "{rng.choice(_STEMS)}")?;\n'
        f"    |         {'^' * len(name)} expected `&[u8]`, found `{rng.choice(_STEMS).capitalize()}`\n"
        f"    |\n"
        f"    = note: {_phrase(rng, False)}\n\n"
    )


def _test_output(rng: Random, wide: bool) -> str:
    lines = [
        f"tests/test_{rng.choice(_STEMS)}.py::test_{_name(rng)}[{rng.choice(_STEMS)}-{rng.randint(0, 99)}] "
        f"{'PASSED' if rng.random() < 0.95 else 'FAILED'} [{rng.randint(0, 100):3d}%]"
        for _ in range(rng.randint(4, 14))
    ]
    lines.append(f"E       AssertionError: assert '{rng.choice(_STEMS)}' == \"{_phrase(rng, wide)}\"")
    lines.append(
        f"========== {rng.randint(1, 9)} failed, {rng.randint(1, 900)} passed in {rng.random() * 90:.2f}s =========="
    )
    return "\n".join(lines) + "\n"


def _listing(rng: Random, wide: bool) -> str:
    lines = [
        f"-rw-r--r-- 1 dev dev {rng.randint(10, 900000):8d} Mar {rng.randint(1, 28):2d} {rng.randint(0, 23):02d}:"
        f"{rng.randint(0, 59):02d} {_name(rng)}.{rng.choice(_SUFFIXES)}"
        for _ in range(rng.randint(4, 16))
    ]
    if wide:
        lines.insert(0, f"# {_phrase(rng, True)}")
    return "\n".join(lines) + "\n"


def _search_output(rng: Random, wide: bool) -> str:
    return "".join(
        f'{_path(rng)}:{rng.randint(1, 2400)}:    {_name(rng)}({rng.choice(_STEMS)}, "{rng.choice(_STEMS)}")'
        f"{'  # ' + _phrase(rng, True) if wide and rng.random() < 0.3 else ''}\n"
        for _ in range(rng.randint(3, 14))
    )


def _diff(rng: Random, wide: bool) -> str:
    path, line = _path(rng), rng.randint(1, 900)
    lines = [
        f"diff --git a/{path} b/{path}",
        f"index {rng.getrandbits(28):07x}..{rng.getrandbits(28):07x} 100644",
        f"--- a/{path}",
        f"+++ b/{path}",
        f"@@ -{line},{rng.randint(3, 30)} +{line},{rng.randint(3, 30)} @@ fn {_name(rng)}()",
    ]
    for _ in range(rng.randint(4, 14)):
        remark = f" // {_phrase(rng, True)}" if wide and rng.random() < 0.3 else ""
        lines.append(f'{rng.choice("  +-")}    let {_name(rng)} = self.{_name(rng)}("{rng.choice(_STEMS)}")?;{remark}')
    return "\n".join(lines) + "\n"


def _json_log(rng: Random, wide: bool) -> str:
    return "".join(
        json.dumps(
            {
                "level": rng.choice(("info", "debug", "warn")),
                "ts": 1_767_000_000 + rng.random() * 1e7,
                "msg": _phrase(rng, wide),
                rng.choice(_STEMS): {"id": f"{rng.getrandbits(48):012x}", "n": rng.randint(0, 99999)},
            },
            ensure_ascii=False,
        )
        + "\n"
        for _ in range(rng.randint(2, 7))
    )


def _colored_output(rng: Random, wide: bool) -> str:
    return "".join(
        f"\x1b[{rng.choice((31, 32, 33, 36))}m{rng.choice(('ok', 'warn', 'FAIL'))}\x1b[0m {_path(rng)} "
        f"{_phrase(rng, wide)}\r\n"
        for _ in range(rng.randint(3, 8))
    )


def _windows_paths(rng: Random, wide: bool) -> str:
    return "".join(
        f"C:\\Users\\dev\\{rng.choice(_FOLDERS)}\\{_name(rng)}.{rng.choice(_SUFFIXES)}({rng.randint(1, 900)}): "
        f"{_phrase(rng, wide)} \\b\\w+\\.{rng.choice(_SUFFIXES)}\n"
        for _ in range(rng.randint(2, 6))
    )


def _prose(rng: Random, wide: bool) -> str:
    """Returns a paragraph or a list from an assistant's answer, in Markdown."""
    kind = rng.random()
    if kind < 0.25:
        return "".join(
            f"- `{_path(rng)}`: {_phrase(rng, wide and rng.random() < 0.5)}\n" for _ in range(rng.randint(2, 5))
        )
    if kind < 0.35:
        return f"```sh\n{rng.choice(('make test', 'cargo test -p core', 'git diff --stat'))}\n```\n"
    sentences = []
    for _ in range(rng.randint(1, 5)):
        words = [rng.choice(_PROSE_WORDS) for _ in range(rng.randint(6, 18))]
        words[rng.randrange(len(words))] = f"`{_name(rng)}`"
        if rng.random() < 0.2:
            words[rng.randrange(len(words))] = f'"{rng.choice(_STEMS)}"'
        sentences.append(" ".join(words).capitalize() + ".")
        if wide:
            sentences.append(_phrase(rng, True) + ".")
    return " ".join(sentences) + "\n\n"


_TERMINAL_BLOCKS: tuple[tuple[Block, int], ...] = (
    (_python_code, 6),
    (_go_code, 4),
    (_compiler_output, 4),
    (_test_output, 4),
    (_listing, 2),
    (_search_output, 5),
    (_diff, 4),
    (_json_log, 2),
    (_colored_output, 1),
    (_windows_paths, 1),
)
_PROSE_BLOCKS: tuple[tuple[Block, int], ...] = ((_prose, 1),)


def escape(text: str) -> bytes:
    """Returns `text` as the content of a JSON string in UTF-8, with the minimum of escapes."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


class TextPool:
    """One long escaped text that can be cut at line ends."""

    def __init__(self, rng: Random, lines: list[bytes], size: int) -> None:
        """Joins shuffled runs of `lines` until they fill `size` bytes."""
        self._rng = rng
        pieces: list[bytes] = []
        self._cuts: list[int] = [0]
        filled = 0
        while filled < size:
            start = rng.randrange(len(lines))
            for line in lines[start : start + rng.randint(5, 40)]:
                pieces.append(line)
                filled += len(line)
                self._cuts.append(filled)
        self._data = b"".join(pieces)

    def take(self, size: int) -> bytes:
        """Returns about `size` bytes of text in complete lines, at least one."""
        cuts = self._cuts
        first = self._rng.randrange(len(cuts) - 1)
        if cuts[first] + size > cuts[-1]:
            first = bisect_left(cuts, max(0, cuts[-1] - size - 4096))
        last = bisect_left(cuts, cuts[first] + size, first + 1)
        return self._data[cuts[first] : cuts[min(last, len(cuts) - 1)]]


class Texts:
    """All pools used by a rollout."""

    def __init__(self, rng: Random) -> None:
        """Builds all pools from `rng`, in well under a second."""
        self._rng = rng
        self._terminal = self._pools(_TERMINAL_BLOCKS, blocks=600, size=4_000_000)
        self._prose = self._pools(_PROSE_BLOCKS, blocks=900, size=1_500_000)
        self._patch = self._pools(((_go_code, 1), (_python_code, 2)), blocks=150, size=500_000, prefixes="   ++-")
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        self._opaque = "".join(rng.choices(alphabet, k=500_000)).encode()
        self.commands = [self._command() for _ in range(2000)]

    def terminal(self, size: int) -> bytes:
        """Returns about `size` bytes of code or terminal output, sometimes with non-ASCII characters."""
        return self._terminal[self._rng.random() < _WIDE_SHARE].take(size)

    def prose(self, size: int) -> bytes:
        """Returns about `size` bytes of an answer or a prompt, sometimes with non-ASCII characters."""
        return self._prose[self._rng.random() < _WIDE_SHARE].take(size)

    def patch(self, size: int) -> bytes:
        """Returns about `size` bytes of patch lines, sometimes with non-ASCII characters."""
        return self._patch[self._rng.random() < _WIDE_SHARE].take(size)

    def opaque(self, size: int) -> bytes:
        """Returns `size` bytes that look like encrypted reasoning: letters, digits, no escapes."""
        start = self._rng.randrange(len(self._opaque) - size)
        return b"gAAAAAB" + self._opaque[start : start + size] + b"=="

    def path(self) -> bytes:
        """Returns the path of a source file in the project."""
        return _path(self._rng).encode()

    def _pools(
        self, kinds: tuple[tuple[Block, int], ...], blocks: int, size: int, prefixes: str = ""
    ) -> tuple[TextPool, TextPool]:
        """Returns an ASCII pool and one with non-ASCII text. Each line starts with one of `prefixes`, if any."""
        makers, weights = zip(*kinds, strict=True)
        pools = []
        for wide in (False, True):
            text = "".join(make(self._rng, wide) for make in self._rng.choices(makers, weights, k=blocks))
            lines = text.splitlines(keepends=True)
            if prefixes:
                lines = [self._rng.choice(prefixes) + line for line in lines]
            pools.append(TextPool(self._rng, [escape(line) for line in lines], size))
        return pools[0], pools[1]

    def _command(self) -> tuple[bytes, bytes]:
        """Returns a shell command escaped once, and escaped twice as in a call's `arguments`."""
        rng = self._rng
        kind = rng.random()
        if kind < 0.35:
            command = (
                f"rg -n \"{rng.choice(_STEMS)}|{_name(rng)}\\(\" {rng.choice(_FOLDERS)} -g '*.{rng.choice(_SUFFIXES)}'"
            )
        elif kind < 0.6:
            first = rng.randint(1, 900)
            command = f"sed -n '{first},{first + rng.randint(20, 260)}p' {_path(rng)}"
        elif kind < 0.75:
            command = f"git diff --stat && git status --short {_path(rng)}"
        elif kind < 0.88:
            command = (
                f".venv/bin/python -m pytest -q tests/test_{rng.choice(_STEMS)}.py -k '{_name(rng)}' 2>&1 | tail -n 40"
            )
        else:
            program = "".join(_python_code(rng, rng.random() < 0.1) for _ in range(int(rng.paretovariate(1.6))))
            command = f"python3 - <<'PY'\nimport re\n{program}print(\"{rng.choice(_STEMS)}\")\nPY"
        escaped = escape(command)
        return escaped, escape(escaped.decode())
