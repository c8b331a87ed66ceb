"""Images, audio and files: records have their media type and size, but not their bytes."""

import base64
import json

from tests.support.program import convert, event_id
from tests.support.rollout_builder import PNG_BASE64, PNG_BYTES, PNG_URL, Rollout, compact, turn

PNG = {"media_type": "image/png", "size": PNG_BYTES}


def test_image_in_a_user_message() -> None:
    rollout = Rollout().user_parts(
        {"type": "input_text", "text": '<image name="dot">'},
        {"type": "input_image", "image_url": PNG_URL, "detail": "original"},
        {"type": "input_text", "text": "</image>"},
    )
    conversion = convert(rollout)
    [step] = conversion.steps
    assert step["message"] == '<image name="dot">\n\n</image>'
    assert step["extra"] == {"images": [PNG]}
    assert step["event_id"] == event_id(rollout.timestamp, '<image name="dot"></image>', "user")
    assert PNG_BASE64.encode() not in conversion.stdout


def test_user_message_of_images_only() -> None:
    rollout = Rollout().user_parts({"type": "input_image", "image_url": PNG_URL})
    [step] = convert(rollout).steps
    assert (step["source"], step["message"], step["extra"]) == ("user", "", {"images": [PNG]})


def test_images_keep_their_order_and_address() -> None:
    gif = base64.b64encode(b"GIF89a" + bytes(1000)).decode()
    rollout = Rollout().user_parts(
        {"type": "input_image", "image_url": "https://example.org/a.jpg"},
        {"type": "input_image", "image_url": f"data:image/gif;base64,{gif}"},
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": PNG_URL},
    )
    [step] = convert(rollout).steps
    assert step["extra"]["images"] == [
        {"url": "https://example.org/a.jpg"},
        {"media_type": "image/gif", "size": 1006},
        PNG,
    ]


def test_image_in_an_output() -> None:
    image = {"type": "input_image", "image_url": PNG_URL, "detail": "original"}
    rollout = turn().call(name="view_image").output(output=[{"type": "input_text", "text": "here: "}, image]).usage()
    conversion = convert(rollout)
    [observation] = conversion.observations
    [result] = observation["results"]
    assert result["content"] == "here: "
    assert result["extra"] == {"is_error": False, "tool_name": "view_image", "images": [PNG]}
    published_text = "here: " + compact(image)
    assert observation["event_id"] == event_id(observation["timestamp"], published_text, "tool_result")
    assert PNG_BASE64.encode() not in conversion.stdout


def test_steps_without_images_have_no_extra() -> None:
    assert "extra" not in convert(Rollout().user("hi")).steps[0]


AUDIO = {"type": "input_audio", "audio_url": "data:audio/wav;base64," + "A" * 4000}


def test_audio_and_files_in_an_output_are_placeholders() -> None:
    file = {"type": "file", "name": "a.bin", "data": "QUJD" * 1000, "mimeType": "application/x-a"}
    parts = [{"type": "input_text", "text": "Spoken:"}, AUDIO, file, {"type": "new", "x": 1}]
    rollout = turn().call(name="say").output(output=parts).usage()
    [observation] = convert(rollout).observations
    [result] = observation["results"]
    assert result["content"] == (
        "Spoken:\n\n[input_audio, audio/wav, 3,000 bytes]\n\n[file a.bin, application/x-a, 3,000 bytes]\n\n"
        '{"type":"new","x":1}'
    )
    published_text = "Spoken:" + compact(AUDIO)
    assert observation["event_id"] == event_id(observation["timestamp"], published_text, "tool_result")


def test_base64_in_a_dumped_output_is_replaced_by_its_size() -> None:
    output = {"parts": [{"audio": AUDIO["audio_url"]}, "QUJD" * 200], "short": "QUJD", "text": "no base64 " * 100}
    [result] = convert(turn().call().output(output=output).usage()).results
    shown = json.loads(result["content"])
    assert shown == output | {"parts": [{"audio": "[audio/wav, 3,000 bytes]"}, "[base64, 600 bytes]"]}


def test_audio_in_an_agent_message_is_a_placeholder() -> None:
    [_, step] = convert(turn().item("agent_message", author="a", recipient="b", content=[AUDIO])).steps
    assert step["message"] == "[input_audio, audio/wav, 3,000 bytes]"
