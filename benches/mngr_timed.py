"""Runs one mngr command, and times and checks every call that mngr makes into this plugin.

    MNGR_CODEX_TIMED=FILE python benches/mngr_timed.py create NAME codex --yes --no-connect

Writes JSON to FILE: the seconds and the number of calls of each function of the plugin that mngr calls, and the
processes and connections that these functions started, which a listing must not do. Calls within the plugin count as
part of the outer call.
"""

from __future__ import annotations

import collections
import functools
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mngr_codex import plugin
from mngr_codex.plugin.agent import CodexAgent

FILE_VARIABLE = "MNGR_CODEX_TIMED"
STARTS_CODEX = "wait_for_ready_signal"
"""Not timed: it starts Codex and waits for it."""

_GUARDED = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec", "socket.connect")

_seconds: collections.defaultdict[str, float] = collections.defaultdict(float)
_calls: collections.Counter[str] = collections.Counter()
_events: collections.Counter[str] = collections.Counter()
_inside: list[str] = []


def _timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        if _inside:
            return function(*arguments, **named)
        _inside.append(name)
        started = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            _seconds[name] += time.perf_counter() - started
            _calls[name] += 1
            _inside.clear()

    return timed


def _timed_fields(hook: Callable[[], tuple[str, dict[str, Callable[..., Any]]]]) -> Callable[[], Any]:
    @functools.wraps(hook)
    def fields() -> Any:
        agent_type, generators = hook()
        return agent_type, {field: _timed(f"field {field}", generator) for field, generator in generators.items()}

    return fields


def _watch(event: str, _: Any) -> None:
    if _inside and event in _GUARDED:
        _events[f"{_inside[0]}: {event}"] += 1


def _wrap() -> None:
    """Wraps hooks and methods. Properties are not called often enough to matter."""
    plugin.agent_field_generators = _timed_fields(plugin.agent_field_generators)
    plugin.on_before_create = _timed("on_before_create", plugin.on_before_create)
    for name, member in vars(CodexAgent).copy().items():
        if name.startswith("__") or name == STARTS_CODEX:
            continue
        if isinstance(member, classmethod):
            setattr(CodexAgent, name, classmethod(_timed(name, member.__func__)))
        elif inspect.isfunction(member):
            setattr(CodexAgent, name, _timed(name, member))
    sys.addaudithook(_watch)


def _write() -> None:
    found = {"seconds": _seconds, "calls": _calls, "events": _events}
    Path(os.environ[FILE_VARIABLE]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    # Importing mngr loads the plugins, so wrap them first.
    _wrap()
    from imbue.mngr import main

    try:
        main.cli(prog_name="mngr")
    finally:
        _write()
