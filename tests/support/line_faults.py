"""Messages and destroys over a line that breaks at random moments, and what became of them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.machine import until
from tests.support.remote_host import RemoteAgent, RemoteHost
from tests.support.rule_based_model import Model, gives_titles, runs, says

SHORTEST_PAUSE, LONGEST_PAUSE = 0.3, 4.0
"""The seconds between two resets."""
BUSY_SECONDS = 4
KEPT = "kept on the host"

type Report = Callable[[str, int, int], None]


def _silent(_label: str, _number: int, _total: int) -> None:
    pass


@dataclass(frozen=True)
class Message:
    """A message over a broken line."""

    text: str
    status: int
    """The exit status of `mngr message`."""
    arrived: int
    """How often it is in the agent's session."""
    resets: int
    seconds: float
    output: str

    @property
    def is_right(self) -> bool:
        """Whether it arrived exactly once, or was reported as not arrived and has not."""
        return self.arrived == (self.status == 0)


def send_messages(host: RemoteHost, model: Model, count: int, *, seed: int, report: Report = _silent) -> list[Message]:
    """Sends messages to one agent while all connections are reset again and again.

    Every third one is sent while the agent is working.
    """
    gives_titles(model)
    agent = host.create("messages")
    sent: list[tuple[str, int, int, float, str]] = []
    for number in range(count):
        report("messages", number, count)
        if number % 3 == 0:
            agent.wait(60)
            model.on("busily", runs(f"sleep {BUSY_SECONDS}"), says("Busy no more."))
            # Over a line that works, so that the agent is working.
            agent.message(f"Work busily before message {number}.")
        text = f"This is message {number} of {count}."
        before, started = host.proxy.traffic.resets, time.monotonic()
        with host.proxy.resetting(seed * 1_000_003 + number, SHORTEST_PAUSE, LONGEST_PAUSE):
            ran = host.machine.mngr("message", agent.name, "-m", text, status=None)
        seconds = time.monotonic() - started
        sent.append((text, ran.status, host.proxy.traffic.resets - before, seconds, ran.stdout + ran.stderr))
    _wait_until_quiet(agent)
    received = agent.received()
    return [
        Message(text, status, sum(each.count(text) for each in received), resets, seconds, output)
        for text, status, resets, seconds, output in sent
    ]


def _wait_until_quiet(agent: RemoteAgent) -> None:
    """Waits until the agent has not worked for a while: Codex can have queued a message."""

    def is_quiet() -> bool:
        for _ in range(20):
            if agent.is_in_turn:
                return False
            time.sleep(0.1)
        return True

    until(is_quiet, description="the end of the last turn", seconds=60)


@dataclass(frozen=True)
class Cut:
    """When the line breaks during a command, and for how long. It is also reset at random moments."""

    after_seconds: float
    seconds: float


@dataclass(frozen=True)
class Destroy:
    """A destroy over a broken line."""

    name: str
    status: int
    cut: Cut | None
    lost: list[str]
    """What is neither on this machine nor on the host any more."""
    places: list[str]
    """Where its sessions and transcripts are: `here`, `kept on the host`, or `not destroyed`."""
    resets: int
    seconds: float
    output: str = field(repr=False)
    kept_on_host: dict[str, bytes] = field(repr=False, default_factory=dict)


def destroy_agents(
    host: RemoteHost, count: int, *, seed: int, cuts: list[float] | None = None, report: Report = _silent
) -> list[Destroy]:
    """Destroys agents, each with a session, while all connections are reset at random moments.

    Args:
        host: The host.
        count: How many agents are created and destroyed.
        seed: Determines when the line breaks.
        cuts: For how many seconds the line is gone during the first, second, … destroy; the list repeats, and 0 means
            that there are only resets.
        report: Is called before each one.
    """
    # mngr cannot destroy the host of the last agent, so one stays.
    host.create("stays")
    random_moments = random.Random(seed)
    done = []
    for number in range(count):
        report("destroys", number, count)
        delay, host.proxy.delay_seconds = host.proxy.delay_seconds, 0.0
        agent = host.create(f"destroyed{number}")
        agent.message(f"Remember the number {number}.")
        agent.wait()
        host.proxy.delay_seconds = delay
        seconds = (cuts or [0.0])[number % len(cuts or [0.0])]
        cut = Cut(random_moments.uniform(1.0, 8.0), seconds) if seconds else None
        done.append(_destroy(host, agent, cut, seed * 1_000_003 + number))
    host.machine.mngr("codex", "recover", host.name, status=None)
    return [replace(each, lost=[*each.lost, *_not_recovered(host, each)], kept_on_host={}) for each in done]


def _not_recovered(host: RemoteHost, destroy: Destroy) -> list[str]:
    """Returns what a destroy has kept on the host, and `mngr codex recover` has not fetched."""
    here = _contents(host.machine.home / ".mngr" / "preserved")
    return [
        f"{name} (not recovered)"
        for name, content in destroy.kept_on_host.items()
        if not any(each.startswith(content) for each in here)
    ]


def _destroy(host: RemoteHost, agent: RemoteAgent, cut: Cut | None, seed: int) -> Destroy:
    needed = _needed_files(agent)
    assert any(name.startswith("rollout-") for name in needed) and len(needed) >= 3
    before, started = host.proxy.traffic.resets, time.monotonic()
    ended = threading.Event()

    def cut_line() -> None:
        if cut is not None and not ended.wait(cut.after_seconds):
            with host.proxy.cut():
                ended.wait(cut.seconds)

    cutting = threading.Thread(target=cut_line)
    cutting.start()
    try:
        with host.proxy.resetting(seed, 2 * SHORTEST_PAUSE, 2 * LONGEST_PAUSE):
            ran = host.machine.mngr("destroy", agent.name, "--force", status=None)
    finally:
        ended.set()
        cutting.join()
    seconds = time.monotonic() - started
    places = {
        "here": host.machine.home / ".mngr" / "preserved",
        KEPT: host.path(host.host_dir / "preserved"),
        "not destroyed": agent.state,
    }
    found = {place: _contents(folder) for place, folder in places.items()}
    lost, where, kept = [], set(), {}
    for name, content in needed.items():
        holders = [place for place, files in found.items() if any(each.startswith(content) for each in files)]
        where.update(holders[:1])
        if not holders:
            lost.append(name)
        elif holders[0] == KEPT:
            kept[name] = content
    resets = host.proxy.traffic.resets - before
    output = ran.stdout + ran.stderr
    return Destroy(agent.name, ran.status, cut, lost, sorted(where), resets, seconds, output, kept)


def _needed_files(agent: RemoteAgent) -> dict[str, bytes]:
    """Returns the sessions and the transcripts of an agent."""
    rollouts = (agent.state / "plugin/codex/home/sessions").rglob("rollout-*.jsonl")
    transcripts = {
        "the raw transcript": agent.state / "logs/codex_transcript/events.jsonl",
        "the common transcript": agent.state / "events/codex/common_transcript/events.jsonl",
    }
    files = {path.name: path for path in rollouts} | transcripts
    return {name: path.read_bytes() for name, path in files.items()}


def _contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*.jsonl") if path.is_file()]
