"""The least work of a prediction, against what torch counts."""

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dream_vla_ros.model import DreamConfig, Objective
from dream_vla_ros.model.inference_settings import InferenceSettings
from dream_vla_ros.model.initialize import random_model
from dream_vla_ros.model.tokenizer import with_token_ids


@pytest.mark.parametrize(
    ("objective", "steps", "samples"),
    [(Objective.FLOW_MATCHING, 3, 1), (Objective.FLOW_MATCHING, 1, 4), (Objective.DISCRETE, 3, 1)],
)
def test_products_are_those_that_are_run(benchmark, objective, steps, samples):
    """The engine leaves nothing out and adds nothing: counted and predicted operations agree."""
    inference = benchmark("inference.py")
    from support import roofline

    folder = inference.ROOT / "models" / "tabletop_tiny"
    config = with_token_ids(DreamConfig.from_folder(folder), folder, for_actions=True)
    model = random_model(config, objective, 8, proprio_dim=8)
    # torch does not count products over weights in blocks
    model.optimise(InferenceSettings(blocked_weights=False))
    inputs = inference.random_inputs(config, 2, 112)
    # torch counts the products of attention only where they are written out
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        model.predict_actions(**inputs, steps=steps, samples=samples)
    grids = [tuple(grid) for grid in inputs["image_grid_thw"].tolist()]
    length = inputs["input_ids"].shape[1]
    work = roofline.prediction_work(model, length, grids, steps, with_state=True, samples=samples)
    assert work.flops == pytest.approx(counted.get_total_flops(), rel=0.03)


def test_the_larger_of_both_times_is_the_limit(benchmark):
    benchmark("inference.py")
    from support.roofline import Machine, Work

    machine = Machine(bytes_per_s=10.0, flops_per_s=100.0)
    assert Work(flops=100.0, bytes=1.0).least_s(machine) == 1.0
    assert Work(flops=1.0, bytes=20.0).least_s(machine) == 2.0
    assert (Work(1.0, 2.0) * 3 + Work(1.0, 0.0)) == Work(4.0, 6.0)
