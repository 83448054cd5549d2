"""Tests of the dream_vla command as a person runs it: real processes, real signals, a real graph."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2; source a distribution or run `make setup`")

from ros_graph import wait_until

from dream_vla_ros.nodes.cli import main as cli
from dream_vla_ros.nodes.cli.do import describe, exit_status, sentence
from dream_vla_ros.nodes.client.robot import DreamVLA
from dream_vla_ros.nodes.outcome import Feedback, Outcome, Progress, Result

COMMAND = [sys.executable, "-m", "dream_vla_ros.nodes.cli.main"]
CONFIG = Path(__file__).parents[2] / "config" / "tabletop.yaml"
TIMEOUT_S = 40


def run(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, **options
    )


def read_until(stream, text, deadline_s=TIMEOUT_S):
    """Read lines until one contains the text; return all that were read."""
    lines = []
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        line = stream.readline()
        assert line, f"ended without '{text}': {lines}"
        lines.append(line)
        if text in line:
            return lines
    pytest.fail(f"no '{text}' within {deadline_s} s: {lines}")


@pytest.fixture
def without_ros(tmp_path):
    """Make an environment in which rclpy cannot be imported."""
    (tmp_path / "rclpy.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'rclpy'\", name='rclpy')\n"
    )
    return {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


@pytest.mark.parametrize("command", ["", *(command.name for command in cli.COMMANDS)])
def test_help_needs_no_ros(command, without_ros):
    answer = run(*filter(None, [command]), "--help", env=without_ros)
    assert answer.returncode == 0, answer.stderr
    assert "usage: dream_vla" in answer.stdout
    if not command:
        assert all(known.name in answer.stdout for known in cli.COMMANDS)


@pytest.mark.parametrize("command", ["do", "status"])
def test_missing_ros_is_named_with_what_to_source(command, without_ros):
    answer = run(command, *(["x"] if command == "do" else []), env=without_ros)
    assert answer.returncode == 1
    assert "source" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_overview_imports_no_command():
    command = "from dream_vla_ros.nodes.cli.main import main; main(['--help'])"
    code = f"import sys; {command}; print(sorted(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'rclpy'" not in answer.stdout
    assert "'numpy'" not in answer.stdout
    assert "'dream_vla_ros.nodes.cli.do'" not in answer.stdout


def test_unknown_command_suggests_the_nearest(capsys):
    assert cli.main(["sotp"]) == 2
    assert "did you mean 'stop'" in capsys.readouterr().err


def test_no_command_shows_the_overview(capsys):
    assert cli.main([]) == 2
    assert "status" in capsys.readouterr().out


@pytest.mark.parametrize("limit", ["0", "-3", "nan", "soon"])
def test_time_limit_must_be_a_length_of_time(limit, capsys):
    with pytest.raises(SystemExit) as exited:
        cli.main(["do", "x", "--time-limit", limit])
    assert exited.value.code == 2
    assert "--time-limit" in capsys.readouterr().err


def test_ros_arguments_are_parted():
    own, ros = cli.split_ros_args(["do", "--ros-args", "-r", "a:=b", "--", "x", "--ros-args", "-p", "c:=1"])
    assert own == ["do", "x"]
    assert ros == ["-r", "a:=b", "-p", "c:=1"]


def test_each_outcome_has_its_exit_status():
    codes = [exit_status(outcome, asked=False) for outcome in Outcome]
    assert codes[Outcome.SUCCEEDED] == codes[Outcome.SETTLED] == 0
    others = [code for outcome, code in zip(Outcome, codes, strict=True) if code]
    assert len(set(others)) == len(others) == len(Outcome) - 2
    assert 2 not in codes  # argparse's own
    assert exit_status(Outcome.SETTLED, asked=True) not in codes
    assert all(0 <= code < 126 for code in codes)


def test_feedback_line_says_what_is_known():
    line = describe(Feedback(Progress.WAITING_FOR_INPUT, "no image from 'wrist'", 1.25), 30.0)
    assert line == "waiting for input   1.2 of 30 s  chunks   0  no image from 'wrist'"
    line = describe(Feedback(Progress.EXECUTING, "", 2.0, 7, 0.0961, success_probability=0.5))
    assert "latency 96 ms" in line
    assert "yes 0.50" in line


def test_outcome_line():
    assert sentence(Result(Outcome.SETTLED, "no motion", 2.04, 1)) == "settled: no motion  (2.0 s, 1 chunk)"


@pytest.mark.ros
def test_do_prints_progress_and_outcome(instruction_server):
    answer = run("do", "settle")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1].startswith("settled: no motion asked for 1.0 s")
    assert "executing" in answer.stdout


@pytest.mark.ros
def test_do_quiet_prints_the_outcome_only(instruction_server):
    answer = run("do", "run", "--time-limit", "0.5", "--quiet")
    assert answer.returncode == Outcome.TIME_LIMIT
    assert len(answer.stdout.splitlines()) == 1


@pytest.mark.ros
@pytest.mark.parametrize(("instruction", "code"), [("", Outcome.REFUSED), ("nameless", 1), ("die", 11)])
def test_exit_status_by_outcome(instruction_server, instruction, code):
    assert run("do", instruction).returncode == code


@pytest.mark.ros
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_cancels_and_waits_for_the_hold(instruction_server, number):
    process = subprocess.Popen([*COMMAND, "do", "run"], stdout=subprocess.PIPE, text=True)
    read_until(process.stdout, "executing")
    process.send_signal(number)
    rest, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 128 + number
    assert "canceled: cancelled by the client" in rest
    assert rest.splitlines()[-1] == "the arm is held"
    assert "ended 4" in "".join(read_until(instruction_server.stdout, "ended"))


@pytest.mark.ros
def test_interruption_while_waiting_for_the_graph(domain_id):
    process = subprocess.Popen([*COMMAND, "do", "run", "--timeout", "60"], stderr=subprocess.PIPE, text=True)
    status = f"/proc/{process.pid}/status"
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and not _catches(status, signal.SIGINT, signal.SIGHUP):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert "Traceback" not in errors


def _catches(status, *numbers):
    with open(status) as lines:
        caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return all(caught >> (number - 1) & 1 for number in numbers)


@pytest.mark.ros
def test_progress_is_one_line_on_a_terminal(instruction_server):
    controlling, terminal = pty.openpty()
    process = subprocess.Popen([*COMMAND, "do", "settle"], stdout=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            piece = os.read(controlling, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(controlling)
    assert process.wait(timeout=TIMEOUT_S) == 0
    lines = shown.decode().replace("\r\n", "\n").splitlines()
    assert sum(line.count("chunks") > 0 and "executing" in line for line in shown.decode().split("\n")) == 1
    assert lines[-1].startswith("settled")


@pytest.mark.ros
def test_missing_graph_is_an_error(domain_id):
    answer = run("do", "settle", "--timeout", "0.5")
    assert answer.returncode == 1
    assert "ros2 run dream_vla_ros policy" in answer.stderr


@pytest.mark.ros
def test_stop_and_resume(instruction_server):
    answer = run("stop")
    assert (answer.returncode, answer.stdout) == (0, "stopped\n")
    assert run("resume").returncode == 0
    answer = run("resume")
    assert answer.returncode == 1
    assert "no emergency stop" in answer.stderr


@pytest.mark.ros
def test_status_shows_what_runs_and_misses_the_cameras(start_instruction_server):
    start_instruction_server("--ros-args", "-r", "__ns:=/left")
    answer = run("status", "--seconds", "0.2", "--namespace", "/left")
    assert answer.returncode == 1
    assert "no goal" in answer.stdout
    assert "controller  idle" in answer.stdout
    assert "no cameras" in answer.stdout
    answer = run("status", "--seconds", "0.1", "--timeout", "0.5", "--ros-args", "-r", "__ns:=/right")
    assert answer.returncode == 1
    assert answer.stdout.count("not running") == 2


@pytest.mark.ros
@pytest.mark.slow
def test_status_of_a_whole_robot(graph):
    for module in ("sim.node", "controller.node", "policy.expert_node"):
        graph.start(f"dream_vla_ros.nodes.{module}", parameter_files=[CONFIG])
    with DreamVLA(namespace=graph.namespace) as robot:
        robot.wait_until_ready(TIMEOUT_S)
        wait_until(lambda: robot.controller_state.mode == robot.controller_state.IDLE, what="an idle arm")
    answer = run("status", "--namespace", graph.namespace)
    assert answer.returncode == 0, answer.stdout
    lines = {line.split()[0]: line for line in answer.stdout.splitlines() if line}
    assert "active" in lines["policy"]
    assert "arm at (" in lines["controller"]
    for camera in ("third_person", "wrist"):
        assert f"{graph.namespace}/{camera}/image_raw" in lines[camera]
        rate_hz = float(lines[camera].split()[2])
        assert 5.0 < rate_hz < 25.0
        assert "224 x 224 rgb8" in lines[camera]
