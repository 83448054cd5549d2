"""Tests of the demo as a newcomer runs it: every node a process of its own, over real DDS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import av
import pytest
from PIL import Image

pytest.importorskip("rclpy", reason="needs ROS 2; source a distribution or run `make setup`")

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]

TIMEOUT_S = 200
PICK = "pick up the red block"


@pytest.fixture
def demo(domain_id, tmp_path):
    """Return a function that starts the demo; whatever it leaves running fails the test."""
    mark = uuid.uuid4().hex
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "dream_vla_ros.nodes.demo.main",
                "--out",
                str(tmp_path / "out"),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "DREAM_VLA_TEST_MARK": mark},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
    left = marked(mark)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"{len(left)} processes outlived the demo"


def marked(mark):
    """Return the processes whose environment carries the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark.encode() in environment:
                found.append(int(entry.name))
    return found


def wait_for(condition, process):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_expert_reaches_the_task_and_everything_is_shown(demo, tmp_path):
    process = demo("--expert", "--tasks", PICK)
    text, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, text
    out = tmp_path / "out"
    summary = json.loads((out / "summary.json").read_text())
    assert summary["problems"] == []
    assert summary["goals"][0]["reached"] is True
    assert summary["goals"][0]["chunks"] > 2
    assert summary["cameras"]["wrist"]["rate_hz"] > 7.0
    assert summary["commands"]["rate_hz"] == pytest.approx(50.0, abs=5.0)
    assert "UNTRAINED" not in text
    assert "camera third_person" in text
    assert max(len(line) for line in text.splitlines() if line.startswith(("goal", PICK + "  "))) <= 100
    with av.open(str(out / "demo.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) > 30
    for picture in ("demo.png", "ee_path.png"):
        assert Image.open(out / picture).size[0] > 400
    assert {path.name for path in (out / "logs").iterdir()} == {"sim.log", "controller.log", "expert.log"}


def test_untrained_model_drives_the_arm_and_says_that_it_is_untrained(demo, tmp_path):
    process = demo("--untrained", "--tasks", PICK, "--time-limit", "5", "--no-video")
    text, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, text
    assert "UNTRAINED" in text
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    goal = summary["goals"][0]
    assert summary["untrained"] is True
    assert goal["outcome"] == "TIME_LIMIT"
    assert goal["chunks_accepted"] > 0
    assert goal["executed_s"] > 0.5
    assert 0.0 < goal["latency_p50_s"] < 3.0
    assert not (tmp_path / "out" / "demo.mp4").exists()


def test_interruption_in_the_middle_of_a_goal_leaves_nothing(demo, tmp_path):
    process = demo("--expert", "--tasks", PICK)
    log = tmp_path / "out" / "logs" / "controller.log"
    wait_for(lambda: log.is_file() and PICK in log.read_text(), process)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 130, text
    assert "everything was stopped" in text
    assert "Traceback" not in text


def test_a_node_that_cannot_start_ends_the_demo_with_its_words(demo, tmp_path):
    empty = tmp_path / "checkpoint"
    empty.mkdir()
    process = demo("--checkpoint", str(empty), "--tasks", PICK)
    text, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert str(empty) in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--checkpoint", "/nowhere"], "/nowhere"),
        (["--expert", "--tasks", "make me a sandwich"], "make me a sandwich"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(demo, arguments, words):
    process = demo(*arguments)
    text, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert words in text
    assert "Traceback" not in text
