"""The schedule of the learning rate, and settings that cannot be."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dream_vla_ros.training.settings import TrainSettings


def test_the_rate_rises_stays_and_falls():
    settings = TrainSettings(
        110, learning_rate=1.0, warmup_steps=10, constant_share=0.5, final_rate=0.1, batch_size=4
    )
    rates = [settings.rate(step) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[4] == pytest.approx(0.5)
    assert rates[10:60] == pytest.approx([1.0] * 50)
    assert all(later <= before for before, later in pairwise(rates[60:]))
    assert rates[85] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)


def test_without_schedule_the_rate_falls_to_nothing():
    settings = TrainSettings(10, learning_rate=2.0)
    assert settings.rate(0) == pytest.approx(2.0)
    assert settings.rate(10) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 1, "batch_size": 5, "accumulation": 2}, "accumulation"),
        ({"steps": 1, "ema_decay": 1.5}, "ema_decay"),
        ({"steps": 1, "learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_impossible_settings_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        TrainSettings(**wrong)
