"""Recorded sessions, played again: `active` is right at every quiet point, whatever codex did."""

import random
from pathlib import Path

import pytest

from tests.support.fake_agent import Agent
from tests.support.recordings import lines_of, name, parse
from tests.support.session_replay import Play, Recording, restarted, scenarios, shuffled, truth

SEEDS = range(2)


def has_restarts(log: Path) -> bool:
    """Whether more than one codex ran."""
    return len({parse(line).get("ppid") for line in lines_of(log)} - {None}) > 1


def has_rollouts(log: Path) -> bool:
    """Whether there is a rollout that could put anything right."""
    return any(it.file for it in Recording(log).happenings)


recorded = pytest.mark.parametrize("log", scenarios(), ids=name)


@recorded
def test_as_it_was(log: Path, agent: Agent) -> None:
    happenings = Recording(log).happenings
    answers = truth(happenings)
    play = Play(agent)
    play.play(happenings, answers)
    play.end(answers[-1])
    assert play.wrong == []
    assert play.judged > 2


@pytest.mark.parametrize("log", [log for log in scenarios() if has_restarts(log)], ids=name)
def test_with_starts_of_the_agent(log: Path, agent: Agent) -> None:
    """Before every codex but the first comes a reset, as mngr does it."""
    happenings = restarted(Recording(log).happenings)
    answers = truth(happenings)
    play = Play(agent)
    play.play(happenings, answers)
    play.end(answers[-1])
    assert play.wrong == []


@pytest.mark.parametrize("log", [log for log in scenarios() if has_rollouts(log)], ids=name)
@pytest.mark.parametrize("seed", SEEDS)
def test_hooks_in_another_order(log: Path, agent: Agent, seed: int) -> None:
    """What comes late or twice is put right by the rollouts: only the end can be judged."""
    happenings = Recording(log).happenings
    answer = truth(happenings)[-1]
    order = shuffled(happenings, random.Random(f"{seed} {name(log)}"))
    play = Play(agent)
    play.play(order, [None] * len(order))
    play.end(answer)
    assert play.wrong == []
