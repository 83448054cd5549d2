"""What the real graph cannot be asked to show is refused before anything starts."""

from __future__ import annotations

import pytest

from dream_vla_ros.nodes.cli import evaluate as command
from dream_vla_ros.nodes.cli.main import main
from dream_vla_ros.nodes.evaluation import evaluate_in_real_time
from dream_vla_ros.training.conditions import CONDITIONS
from dream_vla_ros.training.evaluation import KINDS, Plan


@pytest.mark.parametrize("name", ["camera", "light", "five_blocks"])
def test_looks_that_the_simulation_node_has_not_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"no condition '{name}'"):
        evaluate_in_real_time(tmp_path, Plan(conditions=("standard", name)))


def test_the_language_control_is_refused(tmp_path, capsys):
    tmp_path.joinpath("config.json").touch()
    assert main(["evaluate", "--checkpoint", str(tmp_path), "--real-time", "--wrong"]) == 1
    assert "two goals at once" in capsys.readouterr().err


def test_the_terminal_knows_every_condition_and_kind():
    assert tuple(CONDITIONS) == command.CONDITION_NAMES
    assert tuple(KINDS) == command.KINDS
