"""DDIM sampling: with the true noise known, it goes back to the clean sample."""

import pytest
import torch

from dream_vla_ros.model.ddim import DdimSchedule
from dream_vla_ros.model.errors import ModelInputError


def test_noise_grows_with_time():
    power = DdimSchedule(50).signal_power
    assert bool((power[1:] < power[:-1]).all())
    assert power[0] > 0.99
    assert power[-1] < 1e-3


@pytest.mark.parametrize("steps", [1, 7, 9, 12, 25, 50])
def test_visits_as_many_steps_as_asked_from_noisy_to_clean(steps):
    times = DdimSchedule(50).timesteps(steps)
    assert len(times) == steps
    assert times == sorted(times, reverse=True)
    assert times[-1] == 0


@pytest.mark.parametrize("steps", [0, 51, -1])
def test_steps_that_were_not_trained_are_refused(steps):
    with pytest.raises(ModelInputError, match="50"):
        DdimSchedule(50).timesteps(steps)


@pytest.mark.parametrize("steps", [5, 10, 50])
def test_true_noise_leads_back(steps):
    schedule = DdimSchedule(50)
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(1, 4, 7, generator=generator) * 1.8 - 0.9
    noise = torch.randn(1, 4, 7, generator=generator)
    times = [t for t in schedule.timesteps(steps) if t < 45]  # above, hardly any signal is left
    x = schedule.add_noise(clean, noise, torch.tensor([times[0]]))
    for time in times:
        x = schedule.step(x, noise, time, steps)
    torch.testing.assert_close(x, clean, atol=1e-3, rtol=0)


def test_clean_sample_is_clipped():
    schedule = DdimSchedule(50)
    far = schedule.step(torch.full((1, 1, 1), 9.0), torch.zeros(1, 1, 1), 0, 50)
    assert float(far.max()) == 1.0
