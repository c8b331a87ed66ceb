"""Messages and destroys over a slow line that breaks at random moments. `benches/run_remote.py` does many more."""

import pytest

from tests.support.line_faults import destroy_agents, send_messages
from tests.support.machine import MakeMachine
from tests.support.remote_host import MakeHost, RemoteHost
from tests.support.rule_based_model import Model

pytestmark = [pytest.mark.slow, pytest.mark.any_codex]

MESSAGES = 10
DESTROYS = 5


@pytest.fixture
def slow_host(make_host: MakeHost, make_machine: MakeMachine) -> RemoteHost:
    return make_host(machine=make_machine(), proxy_delay_seconds=0.025)


def test_each_message_arrives_once_or_is_reported(slow_host: RemoteHost, model: Model) -> None:
    messages = send_messages(slow_host, model, MESSAGES, seed=1)
    assert not [each for each in messages if not each.is_right]
    assert sum(each.resets for each in messages) > MESSAGES / 2, "the line hardly broke"
    assert sum(each.arrived for each in messages) > MESSAGES / 2


def test_a_destroy_loses_nothing(slow_host: RemoteHost) -> None:
    destroys = destroy_agents(slow_host, DESTROYS, seed=1, cuts=[0.0, 5.0])
    assert not [each for each in destroys if each.lost], [each.output for each in destroys if each.lost]
    assert sum(each.resets for each in destroys) > DESTROYS / 2, "the line hardly broke"
    assert any("here" in each.places for each in destroys)
