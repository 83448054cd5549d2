"""Tests of starting the demo's nodes and, above all, of ending them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from dream_vla_ros.nodes.demo.processes import ProcessDiedError, ProcessGroup, choose_domain, tail

DEADLINE_S = 20.0
OBEDIENT = "import time; print('up', flush=True); time.sleep(300)"
STUBBORN = """
import signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print("up", child.pid, flush=True)
time.sleep(300)
"""
DYING = "print('the reason why'); raise SystemExit(3)"


def wait_until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.02)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Write the modules to start."""
    for name, code in (("obedient", OBEDIENT), ("stubborn", STUBBORN), ("dying", DYING)):
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return tmp_path


def log_of(folder, name):
    path = folder / f"{name}.log"
    return path.read_text() if path.is_file() else ""


def test_leaving_the_block_ends_even_the_stubborn_and_their_children(modules, tmp_path, monkeypatch):
    monkeypatch.setattr("dream_vla_ros.nodes.demo.processes._PATIENCE_S", 0.3)
    logs = tmp_path / "logs"
    with ProcessGroup(logs, 7) as group:
        group.start("one", "obedient")
        group.start("two", "stubborn")
        wait_until(lambda: "up" in log_of(logs, "one") and "up" in log_of(logs, "two"))
        group.check()
        child = int(log_of(logs, "two").split()[1])
        assert is_running(child)
    wait_until(lambda: not is_running(child))


def test_a_process_that_ends_by_itself_is_named_with_its_last_words(modules, tmp_path):
    with ProcessGroup(tmp_path / "logs", 7) as group:
        group.start("good", "obedient")
        group.start("bad", "dying")
        with pytest.raises(ProcessDiedError) as caught:
            wait_until(lambda: group.check() is not None)
    assert "the bad process ended with status 3" in str(caught.value)
    assert "| the reason why" in str(caught.value)


def test_processes_live_in_the_domain_given(modules, tmp_path):
    (modules / "obedient.py").write_text("import os; print(os.environ['ROS_DOMAIN_ID'])")
    with ProcessGroup(tmp_path / "logs", 42) as group:
        group.start("one", "obedient")
        wait_until(lambda: log_of(tmp_path / "logs", "one") == "42\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_processes_end_with_a_demo_that_is_killed(modules, tmp_path):
    code = (
        "import time; from pathlib import Path; from dream_vla_ros.nodes.demo.processes import ProcessGroup\n"
        f"group = ProcessGroup(Path({str(tmp_path / 'logs')!r}), 7)\n"
        "group.start('one', 'obedient'); print(group._members[0].process.pid, flush=True); time.sleep(300)"
    )
    demo = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(demo.stdout.readline())
    wait_until(lambda: "up" in log_of(tmp_path / "logs", "one"))
    demo.kill()
    demo.wait()
    wait_until(lambda: not is_running(pid))


def test_interruptions_do_not_disturb_the_end(modules, tmp_path, monkeypatch):
    group = ProcessGroup(tmp_path / "logs", 7)
    group.start("one", "obedient")
    ends = []
    real_wait = subprocess.Popen.poll

    def poll(process):
        if not ends:
            ends.append(signal.raise_signal(signal.SIGINT))
        return real_wait(process)

    monkeypatch.setattr(subprocess.Popen, "poll", poll)
    before = signal.getsignal(signal.SIGINT)
    group.stop()
    assert ends
    assert signal.getsignal(signal.SIGINT) is before


def test_the_users_domain_is_kept(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "13")
    assert choose_domain() == 13


def test_a_domain_in_use_is_avoided(monkeypatch):
    import socket

    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    first = choose_domain()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 7400 + 250 * first + 10))
        second = choose_domain()
    assert 1 <= first <= 101
    assert 1 <= second <= 101
    assert first != second


def test_tail_of_a_log(tmp_path):
    log = tmp_path / "x.log"
    assert "nothing was logged" in tail(log)
    log.write_text("\n".join(map(str, range(100))))
    assert tail(log, 2) == "  | 98\n  | 99"
