"""Recording from a terminal, by keys and without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ros_graph import TIMEOUT_S, Graph
from terminal import Terminal

from dream_vla_ros.data.bag_metadata import BagMetadata
from dream_vla_ros.data.episode_metadata import EpisodeMetadata

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).parents[2] / "config" / "tabletop.yaml"
TASK = "pick up the red block"


def command(graph: Graph, *arguments: str) -> tuple[list[str], dict[str, str]]:
    line = [sys.executable, "-m", "dream_vla_ros.nodes.cli.main", "record", TASK, *arguments]
    return [*line, "--namespace", graph.namespace], {**os.environ, "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def folder(graph: Graph, tmp_path: Path) -> Path:
    """Start a recorder; return where its bags go."""
    graph.start(
        "dream_vla_ros.nodes.recorder.node",
        parameter_files=[CONFIG],
        parameters={"folder": str(tmp_path / "bags")},
    )
    return tmp_path / "bags"


@pytest.fixture
def open_terminal(graph: Graph) -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        terminals.append(Terminal(*command(graph, *arguments)))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def known(folder: Path) -> list[EpisodeMetadata | None]:
    return [
        EpisodeMetadata.from_custom_data(BagMetadata.read(bag).custom) for bag in sorted(folder.iterdir())
    ]


def test_keys_start_keep_fail_and_throw_away(
    graph: Graph, folder: Path, open_terminal: Callable[..., Terminal]
):
    terminal = open_terminal("--operator", "Ada")

    def shows(words: str, count: int = 1) -> None:
        graph.wait(lambda: terminal.text.count(words) >= count, what=f"'{words}' in {terminal.text!r}")

    shows("starts episode 1")
    for number, key in enumerate(("\n", "f", "d")):
        terminal.type("\n")
        shows("throw away", number + 1)
        # What is missing is said: nothing publishes here.
        shows("third_person/image_raw: nothing publishes it", number + 1)
        terminal.type(key)
        shows("is thrown away" if key == "d" else "messages, 0 lost", 1 if key == "d" else number + 1)
    terminal.type("q")
    assert terminal.process.wait(TIMEOUT_S) == 0
    kept = known(folder)
    assert [one.success for one in kept if one] == [True, False]
    assert {(one.task, one.operator) for one in kept if one} == {(TASK, "Ada")}


def test_one_episode_without_keys(graph: Graph, folder: Path):
    line, environment = command(graph, "--seconds", "1", "--failed", "--notes", "dropped it")
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (only,) = known(folder)
    assert only is not None
    assert (only.success, only.notes) == (False, "dropped it")


def test_without_a_recorder_it_says_what_to_start(graph: Graph):
    line, environment = command(graph, "--seconds", "1", "--timeout", "1")
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "ros2 run dream_vla_ros recorder" in done.stderr
