"""Curves are drawn of what there is."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dream_vla_ros.training.curves import smoothed, write_curves


def lines(count=200, held_out=False):
    entries = []
    for step in range(1, count + 1):
        loss = 1.0 / step + 0.1
        entries.append({"step": step, "loss": loss, "word_loss": loss / 2, "learning_rate": 1e-3})
        if held_out and step % 50 == 0:
            entries[-1]["action_error"] = loss / 3
    return entries


def test_running_means_keep_length_and_level():
    assert smoothed([2.0] * 7, 3) == pytest.approx([2.0] * 7)
    assert smoothed([0.0, 3.0, 0.0], 3) == pytest.approx([1.5, 1.0, 1.5])
    assert smoothed([1.0, 5.0], 0) == pytest.approx([1.0, 5.0])


def test_each_stage_has_its_axes(tmp_path):
    assert write_curves(tmp_path / "one.png", [("actions", lines())])
    assert write_curves(tmp_path / "two.png", [("alignment", lines()), ("actions", lines(held_out=True))])
    one, two = (np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")) for name in ("one", "two"))
    assert two.shape[1] == 2 * one.shape[1]
    assert (one.min(axis=2) < 128).mean() > 0.005


def test_gaps_and_negative_losses_do_not_break_it(tmp_path):
    entries = [{"step": 1, "loss": -0.1}, {"step": 2, "loss": None}, {"step": 3, "loss": 0.2}]
    assert write_curves(tmp_path / "curves.png", [("fit", entries)])


def test_nothing_is_drawn_of_nothing(tmp_path):
    assert not write_curves(tmp_path / "curves.png", [("fit", []), ("more", lines(1))])
    assert not (tmp_path / "curves.png").exists()
