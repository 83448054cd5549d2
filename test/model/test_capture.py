"""Recording on a GPU: what it falls back to elsewhere, and that what is recorded could be."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dream_vla_ros.model import DreamVLAForActionPrediction, Objective, PreviousChunk
from dream_vla_ros.model.capture import KEPT_GRAPHS, Captured
from dream_vla_ros.model.inference_settings import InferenceSettings

ROUNDING = 2e-5
# What reads the device from the host, or has a size that depends on values: neither can be recorded.
FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="records on a GPU only")


class NothingThatWaits(TorchDispatchMode):
    """Fail at operations that cannot be recorded."""

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        name = function.overloadpacket.__name__
        assert name not in FORBIDDEN, f"{name} waits for the device"
        if name == "index":
            masks = [i for i in arguments[1] if i is not None and i.dtype is torch.bool]
            assert not masks, "indexing by a mask has a size that depends on values"
        return function(*arguments, **(named or {}))


def inputs(prompt):
    noise = np.random.default_rng(1).standard_normal((8, 7), dtype=np.float32)
    return {**prompt, "proprio": np.full(8, 0.3, dtype=np.float32), "noise": noise, "steps": 3}


def test_calls_through_without_a_gpu():
    calls = []

    def add(key, a, b):
        calls.append(key)
        return a + (0 if b is None else b)

    captured = Captured(add)
    assert captured("x", torch.ones(2), None).tolist() == [1, 1]
    assert captured("y", torch.ones(2), torch.ones(2)).tolist() == [2, 2]
    assert calls == ["x", "y"]
    assert captured.recordings == 0
    assert captured.failure == ""


@pytest.mark.parametrize("objective", [Objective.FLOW_MATCHING, Objective.DIFFUSION, Objective.L1_REGRESSION])
@pytest.mark.parametrize("guided", [None, False, True])
def test_what_is_recorded_never_waits(make_checkpoint, make_prompt, monkeypatch, objective, guided):
    if guided is not None and objective is Objective.L1_REGRESSION:
        pytest.skip("takes no chunk before")
    if guided and objective is Objective.DIFFUSION:
        pytest.skip("has no velocity to guide")
    model = DreamVLAForActionPrediction.from_pretrained(make_checkpoint(objective.value), objective)
    engine = model.optimise(InferenceSettings(bucket=16))
    rows = np.zeros((6, 7), dtype=np.float32)
    previous = None if guided is None else PreviousChunk(rows, 2, 5.0 if guided else None)
    given = inputs(make_prompt(model.config))
    expected = model.predict_actions(**given, previous=previous)
    recorded = []
    for captured in (engine._denoise, engine._regress, engine._encode, engine._pass):
        run = captured._function

        def watched(key, *tensors, run=run):
            recorded.append(key)
            with NothingThatWaits():
                return run(key, *tensors)

        monkeypatch.setattr(captured, "_function", watched)
    np.testing.assert_allclose(model.predict_actions(**given, previous=previous), expected, atol=ROUNDING)
    assert len(recorded) == 1


def test_the_watch_notices_what_waits():
    mask = torch.tensor([True, False])
    for waits in (lambda: int(mask.sum()), lambda: mask.nonzero(), lambda: torch.ones(2)[mask]):
        with pytest.raises(AssertionError, match=r"waits|depends"), NothingThatWaits():
            waits()


@needs_gpu
@pytest.mark.parametrize("objective", list(Objective))
def test_same_on_a_gpu(make_checkpoint, make_prompt, objective):
    folder = make_checkpoint(objective.value, initializer_range=0.06)
    load = DreamVLAForActionPrediction.from_pretrained
    plain, fast = load(folder, objective), load(folder, objective, device="cuda")
    engine = fast.optimise()
    for seed, grids in enumerate([((1, 4, 6),), ((1, 4, 6),) * 2, ((1, 4, 6),)]):
        given = inputs(make_prompt(plain.config, grids, seed)) | {"action_tokens_only": False}
        expected = plain.predict_actions(**given)
        for _ in range(2):
            np.testing.assert_allclose(fast.predict_actions(**given), expected, atol=20 * ROUNDING)
    assert engine.failures == ()


@needs_gpu
def test_keeps_few_graphs_and_their_results_apart():
    captured = Captured(lambda key, x: x * key)
    first = captured(2, torch.ones(3, device="cuda"))
    assert captured(2, torch.full((3,), 5.0, device="cuda")).tolist() == [10, 10, 10]
    assert first.tolist() == [2, 2, 2]
    for size in range(1, KEPT_GRAPHS + 5):
        captured(3, torch.ones(size, device="cuda"))
    assert captured.recordings == KEPT_GRAPHS


@needs_gpu
def test_what_cannot_be_recorded_is_called_and_says_so():
    captured = Captured(lambda key, x: x * float(x.sum()))
    assert captured(0, torch.ones(2, device="cuda")).tolist() == [2, 2]
    assert "CUDA graph" in captured.failure
    assert captured(0, torch.ones(3, device="cuda")).tolist() == [3, 3, 3]
