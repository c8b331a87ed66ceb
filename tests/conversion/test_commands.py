"""Commands: the call that ran each one, and the position of its record."""

import json
from typing import Any

import pytest

from tests.support.program import EMITTER, Record, convert, event_id
from tests.support.rollout_builder import START_MS, Rollout, turn, uuid7


def commands(rollout: Rollout, *arguments: str) -> list[tuple[str, str]]:
    """Returns the owning call and the rule of each command record."""
    return [
        (result["source_call_id"], result["extra"]["command_execution"]["attribution"])
        for result in convert(rollout, *arguments).results
        if "command_execution" in result["extra"]
    ]


def command_of(**item: Any) -> Record:
    """Converts one command, and returns its `command_execution`."""
    rollout = turn().call("call_1").command(started=4000, **item).output("call_1").usage()
    execution: Record = convert(rollout).results[-1]["extra"]["command_execution"]
    return execution


def test_command_record() -> None:
    rollout = turn().custom_call("call_1").command("exec-9", started=4500, exit_code=3, status="failed", at=5000)
    timestamp = rollout.timestamp
    rollout.custom_output("call_1", "said").usage()
    assert convert(rollout).observations[1] == {
        "type": "observation",
        "event_id": event_id(timestamp, "exec-9", "command_execution"),
        "emitter": EMITTER,
        "timestamp": timestamp,
        "results": [
            {
                "source_call_id": "call_1",
                "content": "",
                "extra": {
                    "tool_name": "command_execution",
                    "command_execution": {
                        "cmd": "echo hi",
                        "argv": ["/bin/bash", "-lc", "echo hi"],
                        "cwd": "/srv/lab/proj",
                        "status": "failed",
                        "exit_code": 3,
                        "duration_ms": 12,
                        "started_at_ms": START_MS + 4500,
                        "completed_at_ms": START_MS + 4512,
                        "output": "hi\n",
                        "attribution": "running_program",
                    },
                },
            }
        ],
    }


@pytest.mark.parametrize(
    ("argv", "cmd"),
    [
        (["/bin/zsh", "-lc", "ls | wc"], "ls | wc"),
        (["bash", "-c", "a"], "a"),
        (["bash", "-ic", "a"], "a"),
        (["bash", "-lic", "a"], "a"),
        (["bash", "-x", "a b"], "bash -x 'a b'"),
        (["ls", "-a"], "ls -a"),
        (["echo", "it's", "", "$HOME", "a=b", "é"], "echo 'it'\"'\"'s' '' '$HOME' a=b 'é'"),
        (["bash", "-lc", "a", "b"], "bash -lc a b"),
        ([], ""),
        (["a", 1], ""),
        ("ls", ""),
        (None, ""),
    ],
)
def test_cmd_of_argv(argv: Any, cmd: str) -> None:
    execution = command_of(command=argv)
    assert execution["cmd"] == cmd
    assert execution["argv"] == (argv if isinstance(argv, list) else [])


@pytest.mark.parametrize("pair", ["[]", '{"a":}'])
@pytest.mark.parametrize(("depth", "is_text"), [(190, False), (199, False), (200, True), (300, True), (100_000, True)])
def test_a_part_of_argv_that_is_nested_too_deep_stays_text(pair: str, depth: int, is_text: bool) -> None:
    opening, closing = (pair[:-1], pair[-1])
    deep = opening * depth + ("1" if opening != "[" else "") + closing * depth
    rollout = turn().call().command(started=4000, id=None, command=["ls", "DEEP", 1, []]).output().usage()
    conversion = convert(rollout.data.replace(b'"DEEP"', f" {deep} ".encode()))
    argv = conversion.results[-1]["extra"]["command_execution"]["argv"]
    assert argv == ["ls", deep if is_text else json.loads(deep), 1, []]


def test_argv_is_kept_next_to_a_deeply_nested_member() -> None:
    rollout = turn().call().command(started=4000, command=["ls", ["-l", {}]], more="DEEP").output().usage()
    conversion = convert(rollout.data.replace(b'"DEEP"', b"[" * 5000 + b"]" * 5000))
    assert conversion.results[-1]["extra"]["command_execution"]["argv"] == ["ls", ["-l", {}]]


@pytest.mark.parametrize(
    ("item", "fields"),
    [
        ({"cwd": "file:///srv/a%20b/%E6%BC%A2"}, {"cwd": "/srv/a b/漢"}),
        ({"cwd": "/srv/a%20b"}, {"cwd": "/srv/a%20b"}),
        ({"cwd": None}, {"cwd": ""}),
        ({"exit_code": None}, {"exit_code": None}),
        ({"exit_code": True}, {"exit_code": None}),
        ({"exit_code": -1}, {"exit_code": -1}),
        ({"status": 7}, {"status": ""}),
        ({"duration": {"secs": 5, "nanos": 149835647}}, {"duration_ms": 5149}),
        ({"duration": {"secs": 5}}, {"duration_ms": None}),
        ({"duration": None}, {"duration_ms": None}),
        ({"aggregated_output": None}, {"output": ""}),
        ({"aggregated_output": "a\x00\x1b[0m漢"}, {"output": "a\x00\x1b[0m漢"}),
    ],
)
def test_optional_fields(item: Record, fields: Record) -> None:
    execution = command_of(**item)
    assert {name: execution[name] for name in fields} == fields


@pytest.mark.parametrize("length", [15_999, 16_000, 16_001, 40_000])
def test_output_is_cut_at_16000_characters(length: int) -> None:
    output = "漢😀ab" * 10_000
    execution = command_of(aggregated_output=output[:length])
    assert execution["output"] == output[: min(length, 16_000)]
    assert execution.get("output_length") == (length if length > 16_000 else None)


def test_the_record_follows_the_output_of_its_call() -> None:
    rollout = turn().call("call_1").call("call_2").command("exec-1", started=4000).output("call_2").output("call_1")
    rollout.command("exec-2", started=4000).usage()
    results = convert(rollout).results
    order = [(result["source_call_id"], "command_execution" in result["extra"]) for result in results]
    assert order == [("call_2", False), ("call_1", False), ("call_1", True), ("call_1", True)]


def test_several_commands_of_a_call_keep_their_order() -> None:
    rollout = turn().call("call_1").command("exec-1", started=4100).command("exec-2", started=4050).output("call_1")
    ids = [record["event_id"] for record in convert(rollout.usage()).observations[1:]]
    assert ids == [event_id(f"2026-11-22T07:00:0{n}.000Z", f"exec-{n - 4}", "command_execution") for n in (5, 6)]


def test_running_program() -> None:
    rollout = turn().call("call_1", at=10_000).output("call_1", at=20_000).call("call_2", at=30_000)
    rollout.command(started=30_500, at=31_000).output("call_2", at=32_000).usage()
    assert commands(rollout) == [("call_2", "running_program")]


@pytest.mark.parametrize("started", [10_000, 15_000, 20_000])
def test_a_program_runs_from_its_calls_line_to_its_outputs(started: int) -> None:
    rollout = turn().call("call_1", at=10_000).output("call_1", at=20_000).command(started=started, at=21_000).usage()
    assert commands(rollout) == [("call_1", "running_program")]


def test_named_in_program() -> None:
    rollout = turn().custom_call("call_1", input='run("echo hi")', at=10_000)
    rollout.custom_call("call_2", input='run("ls")', at=11_000).command(started=12_000, at=13_000)
    assert commands(rollout.custom_output("call_1").custom_output("call_2").usage()) == [("call_1", "named_in_program")]


def test_named_in_program_with_json_escapes() -> None:
    command = 'echo "é"\n'
    rollout = turn().call("call_1", arguments=json.dumps({"cmd": command}), at=10_000)
    rollout.call("call_2", arguments='{"cmd":"ls"}', at=11_000)
    rollout.command(command=["bash", "-lc", command], started=12_000, at=13_000)
    assert commands(rollout.output("call_1").output("call_2").usage()) == [("call_1", "named_in_program")]


def test_latest_running_program_in_turn() -> None:
    rollout = Rollout().context(uuid7(2)).custom_call("call_1", at=10_000).custom_call("call_2", at=11_000)
    rollout.context(uuid7(3)).custom_call("call_3", at=13_000).command(started=14_000, turn_id=uuid7(2), at=15_000)
    for call_id in ("call_1", "call_2", "call_3"):
        rollout.custom_output(call_id)
    assert commands(rollout.usage()) == [("call_2", "latest_running_program_in_turn")]


def test_latest_running_program_in_turn_among_those_that_name_it() -> None:
    rollout = Rollout().context(uuid7(2)).custom_call("call_1", input="echo hi", at=10_000)
    rollout.custom_call("call_2", input="echo hi", at=11_000).custom_call("call_3", input="ls", at=12_000)
    rollout.command(started=14_000, turn_id=uuid7(2), at=15_000)
    for call_id in ("call_1", "call_2", "call_3"):
        rollout.custom_output(call_id)
    assert commands(rollout.usage()) == [("call_2", "latest_running_program_in_turn")]


@pytest.mark.parametrize("turn_id", [uuid7(9), None])
def test_latest_running_program(turn_id: Any) -> None:
    rollout = Rollout().context(uuid7(2)).custom_call("call_1", at=10_000).custom_call("call_2", at=11_000)
    rollout.command(started=14_000, turn_id=turn_id, at=15_000).custom_output("call_1").custom_output("call_2").usage()
    assert commands(rollout) == [("call_2", "latest_running_program")]


def test_nearest_preceding_call_in_turn() -> None:
    rollout = Rollout().context(uuid7(2)).call("call_1", at=10_000).output("call_1", at=11_000)
    rollout.call("call_2", at=12_000).output("call_2", at=13_000).context(uuid7(3))
    rollout.call("call_3", at=15_000).output("call_3", at=16_000)
    rollout.command(started=17_000, turn_id=uuid7(2), at=18_000).usage()
    assert commands(rollout) == [("call_2", "nearest_preceding_call_in_turn")]


def test_nearest_preceding_call() -> None:
    rollout = Rollout().context(uuid7(2)).call("call_1", at=10_000).output("call_1", at=11_000)
    rollout.call("call_2", at=12_000).output("call_2", at=13_000)
    rollout.command(started=17_000, turn_id=uuid7(9), at=18_000).usage()
    assert commands(rollout) == [("call_2", "nearest_preceding_call")]


def test_a_call_made_after_the_command_began_cannot_own_it() -> None:
    rollout = turn().call("call_1", at=10_000).output("call_1", at=11_000).call("call_2", at=20_000)
    rollout.command(started=15_000, at=21_000).output("call_2").usage()
    assert commands(rollout) == [("call_1", "nearest_preceding_call_in_turn")]


@pytest.mark.parametrize("name", ["exec", "exec_command", "shell", "shell_command", "local_shell"])
def test_calls_that_start_commands(name: str) -> None:
    rollout = turn().call("call_1", name).call("call_2", "apply_patch").call("call_3", "view_image")
    for call_id in ("call_1", "call_2", "call_3"):
        rollout.output(call_id)
    assert commands(rollout.command(started=5500).usage()) == [("call_1", "running_program")]


def test_a_program_that_yielded_runs_until_a_wait_collects_its_cell() -> None:
    rollout = turn().custom_call("call_1", at=10_000)
    rollout.custom_output("call_1", "Script running with cell ID 7\nmore", at=11_000)
    rollout.custom_call("call_2", at=12_000).custom_output("call_2", at=13_000)
    rollout.call("call_3", "wait", '{"cell_id": "7"}', at=20_000)
    rollout.output("call_3", "Script running with cell ID 7", at=25_000)
    rollout.call("call_4", "wait", '{"cell_id": 7}', at=26_000).output("call_4", "Script completed", at=30_000)
    rollout.command("exec-1", started=15_000, at=31_000)
    rollout.command("exec-2", started=29_000, at=32_000)
    rollout.command("exec-3", started=30_500, at=33_000).usage()
    assert commands(rollout) == [
        ("call_1", "running_program"),
        ("call_1", "running_program"),
        ("call_2", "nearest_preceding_call_in_turn"),
    ]


def test_a_wait_on_another_cell_collects_nothing() -> None:
    rollout = turn().custom_call("call_1", at=10_000)
    rollout.custom_output("call_1", "Script running with cell ID 7", at=11_000)
    rollout.call("call_2", "wait", '{"cell_id": "8"}', at=12_000).output("call_2", "Script completed", at=13_000)
    assert commands(rollout.command(started=15_000, at=16_000).usage()) == [("call_1", "running_program")]


@pytest.mark.parametrize(
    "end",
    [
        lambda rollout: rollout.aborted(),
        lambda rollout: rollout.complete(),
        lambda rollout: rollout.started(uuid7(3)),
        lambda rollout: rollout.meta(uuid7(4)),
    ],
    ids=["turn_aborted", "task_complete", "task_started", "session_meta"],
)
@pytest.mark.parametrize("arguments", [(), ("--partial",)], ids=["complete", "partial"])
def test_a_command_of_a_call_without_an_output_is_emitted_at_the_end_of_the_turn(
    end: Any, arguments: tuple[str, ...]
) -> None:
    rollout = end(turn().call("call_1").command(started=4000)).user("next")
    assert commands(rollout, *arguments) == [("call_1", "running_program")]
    assert [record["type"] for record in convert(rollout).records[2:4]] == ["step", "observation"]


def test_a_command_of_a_call_without_an_output_is_emitted_at_the_end_of_the_input() -> None:
    rollout = Rollout().meta().user("go").call("call_1").command(started=2000)
    assert commands(rollout) == [("call_1", "running_program")]
    assert commands(rollout, "--partial") == []


def test_a_command_after_the_end_of_its_turn_is_emitted_immediately() -> None:
    rollout = turn().call("call_1").output("call_1", "aborted by user").usage().aborted().command(started=4000)
    assert commands(rollout, "--partial") == [("call_1", "running_program")]


def test_a_late_output_follows_an_emitted_command() -> None:
    rollout = turn().call("call_1").command(started=4000).aborted().output("call_1", "late")
    results = convert(rollout).results
    assert [result["content"] for result in results if "command_execution" not in result["extra"]] == ["late"]
    assert len(results) == 2


@pytest.mark.parametrize(
    "rollout",
    [
        turn().command(started=3500),
        turn().call("call_1", at=10_000).command(started=9_999, at=11_000).output("call_1").usage(),
        turn().call("call_1", "apply_patch").command(started=5000).output("call_1").usage(),
        turn().line(
            "event_msg", {"type": "item_completed", "item": {"type": "CommandExecution", "id": "exec-1", "command": []}}
        ),
    ],
    ids=["no call", "before every call", "no call that starts commands", "no start"],
)
def test_a_command_without_an_owning_call_is_a_system_step(rollout: Rollout) -> None:
    conversion = convert(rollout)
    assert commands(rollout) == []
    [step] = [step for step in conversion.steps if step["source"] == "system"]
    assert step["message"].strip()
    assert "\n" not in step["message"]
    assert step["extra"]["tool_name"] == "command_execution"
    execution = step["extra"]["command_execution"]
    assert "attribution" not in execution
    assert {"cmd", "argv", "cwd", "status", "exit_code", "started_at_ms", "output"} <= set(execution)
