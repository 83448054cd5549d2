"""What is trained moves, what is not does not, and folding changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dream_vla_ros.model.objectives import training_loss
from dream_vla_ros.training.batches import BatchMaker
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.lora import (
    LoraSettings,
    Trained,
    compute_at_once,
    fold,
    has_adapters,
    load_adapter,
    prepare,
    save_adapter,
)

OBJECTIVES = ("flow_matching", "l1_regression", "diffusion", "discrete", "discrete_diffusion")
TINY = LoraSettings(rank=4, alpha=2)


def train(model, processor, samples, steps=2):
    """A few steps large enough to move everything that can move."""
    batch = BatchMaker(model, processor)(samples, samples.images.astype(np.float32))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for step in range(steps):
        training_loss(model, batch, generator=torch.Generator().manual_seed(step)).backward()
        optimizer.step()
        optimizer.zero_grad()


def predict(model, processor, samples):
    inputs = processor(list(samples.images[0]), samples.instructions[0])
    proprio = model.normalize_proprio(samples.proprio[0])
    return model.predict_actions(**inputs, proprio=proprio, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("objective", "trained"),
    [*(("flow_matching", how) for how in Trained), *((other, Trained.LORA) for other in OBJECTIVES[1:])],
)
def test_every_trainable_tensor_moves_and_no_other(load, processor, samples, objective, trained):
    model = prepare(load(objective), trained, TINY)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train(model, processor, samples)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    expected = {name for name, p in model.named_parameters() if p.requires_grad}
    assert moved == expected
    for part in ("action_head", "noisy_action_projector", "proprio_projector"):
        held = {name for name in before if name.startswith(f"{part}.")}
        assert held <= expected
    assert any(name.startswith("proprio_projector.") for name in expected)


def test_adapters_may_be_added_before_the_product(load, processor, samples):
    model = prepare(load(), Trained.LORA_LANGUAGE, TINY)
    train(model, processor, samples)  # or they would add nothing
    batch = BatchMaker(model, processor)(samples, samples.images.astype(np.float32))
    results = []
    for change in (lambda model: None, compute_at_once):
        change(model)
        model.zero_grad()
        loss = training_loss(model, batch, generator=torch.Generator().manual_seed(0))
        loss.backward()
        grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        results.append((loss.detach(), grads))
    assert any("lora_A" in name for name in results[0][1])
    torch.testing.assert_close(results[1], results[0], atol=1e-5, rtol=1e-3)


def test_published_settings_reach_every_linear_layer(load):
    model = prepare(load(), Trained.LORA)
    adapted = {name.partition(".lora_A")[0] for name, _ in model.named_parameters() if ".lora_A." in name}
    assert {name.partition(".")[0] for name in adapted} == {"visual", "projector", "model"}
    # 3 vision blocks of 4, the merger's 2, the projector's 2, 4 layers of 7.
    assert len(adapted) == 3 * 4 + 2 + 2 + 4 * 7
    layer = model.model.layers[0].mlp.gate_proj
    assert layer.r["default"] == 32
    assert layer.scaling["default"] == 0.5
    first = layer.lora_A["default"].weight
    assert first.std().item() == pytest.approx(1 / 32, rel=0.1)
    assert not layer.lora_B["default"].weight.any()


def test_language_only_leaves_the_eyes_alone(load):
    model = prepare(load(), Trained.LORA_LANGUAGE, TINY)
    assert not any(p.requires_grad for p in model.visual.parameters())
    assert not any(p.requires_grad for p in model.projector.parameters())


def test_fresh_adapters_change_nothing(load, processor, samples):
    plain = predict(load(), processor, samples)
    np.testing.assert_array_equal(predict(prepare(load(), Trained.LORA), processor, samples), plain)


def test_folding_keeps_predictions_and_restores_names(load, processor, samples):
    model = prepare(load(), Trained.LORA, TINY)
    train(model, processor, samples)
    expected = predict(model, processor, samples)
    assert has_adapters(model)
    fold(model)
    assert not has_adapters(model)
    assert set(model.state_dict()) == set(load().state_dict())
    np.testing.assert_allclose(predict(model, processor, samples), expected, atol=1e-4)


def test_saved_adapters_make_the_same_model(load, processor, samples, tmp_path):
    model = prepare(load(), Trained.LORA, TINY)
    train(model, processor, samples)
    save_adapter(model, tmp_path, "base")
    again = load()
    load_adapter(again, tmp_path)
    for part in ("action_head", "noisy_action_projector", "proprio_projector"):
        getattr(again, part).load_state_dict(getattr(model, part).state_dict())
    np.testing.assert_allclose(
        predict(again, processor, samples), predict(model, processor, samples), atol=1e-5
    )


def test_no_adapter_is_said_so(load, tmp_path):
    with pytest.raises(TrainingError, match="holds no LoRA adapter"):
        load_adapter(load(), tmp_path)
