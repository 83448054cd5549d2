"""The running average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dream_vla_ros.training.ema import Average


def module(value, frozen=False):
    layer = nn.Linear(2, 1)
    nn.init.constant_(layer.weight, value)
    layer.bias.requires_grad_(not frozen)
    return layer


def test_average_of_late_steps_is_the_exponential_one():
    layer = module(0.0)
    average = Average(layer, 0.5)
    nn.init.constant_(layer.weight, 1.0)
    average.update(layer, 1000)
    average.update(layer, 1001)
    with average.in_place(layer):
        torch.testing.assert_close(layer.weight, torch.full((1, 2), 0.75))
    torch.testing.assert_close(layer.weight, torch.ones(1, 2))


def test_first_steps_forget_the_start():
    layer = module(0.0)
    average = Average(layer, 0.999)
    nn.init.constant_(layer.weight, 1.0)
    average.update(layer, 1)
    assert float(average.state_dict()["weight"].mean()) == pytest.approx(0.9)


def test_the_weights_come_back_after_an_error():
    layer = module(2.0)
    average = Average(module(1.0), 0.9)
    seen = []

    def fail_inside():
        with average.in_place(layer):
            seen.append(layer.weight.tolist())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert seen == [[[1.0, 1.0]]]
    assert layer.weight.tolist() == [[2.0, 2.0]]


def test_frozen_parameters_are_not_averaged():
    assert set(Average(module(1.0, frozen=True), 0.9).state_dict()) == {"weight"}


def test_a_state_of_other_parameters_is_refused():
    with pytest.raises(KeyError, match="other parameters"):
        Average(module(1.0), 0.9).load_state_dict({"bias": torch.zeros(1)})
