"""What is published is read back, tells what it is, and folds together with its base."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dream_vla_ros.model import DreamVLAForActionPrediction
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.lora import LoraSettings, Trained, prepare
from dream_vla_ros.training.metrics import MetricsLog
from dream_vla_ros.training.publish import Publication, curve_table, merge_adapter, publish


@pytest.fixture
def about(tmp_path):
    log = MetricsLog(tmp_path / "stage")
    for step in range(1, 31):
        log.write(step, {"loss": 1.0 / step, "learning_rate": 1e-4})
    log.close()
    return Publication(
        "A test",
        "It tests.",
        {"steps": 30},
        "robot: tabletop\n",
        [("actions", tmp_path / "stage")],
        "nothing",
    )


def changed(model, seed=0):
    """Move everything that may move, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return model


def predict(model, processor, samples):
    inputs = processor(list(samples.images[0]), samples.instructions[0])
    proprio = model.normalize_proprio(samples.proprio[0])
    return model.predict_actions(**inputs, proprio=proprio, generator=torch.Generator().manual_seed(1))


def test_adapters_are_published_folded_and_apart(load, checkpoints, processor, samples, about, tmp_path):
    model = changed(prepare(load(), Trained.LORA, LoraSettings(4, 2)))
    expected = predict(model, processor, samples)
    out = publish(model, tmp_path / "out", checkpoints(), about)
    folded = DreamVLAForActionPrediction.from_pretrained(out)
    np.testing.assert_allclose(predict(folded, processor, samples), expected, atol=1e-4)
    (out / "model.safetensors").unlink()
    merged = merge_adapter(checkpoints(), out, tmp_path / "merged", "flow_matching")
    again = DreamVLAForActionPrediction.from_pretrained(merged)
    np.testing.assert_allclose(predict(again, processor, samples), expected, atol=1e-4)
    assert not (tmp_path / ".merged.sources").exists()


def test_the_folder_says_what_it_is(load, checkpoints, about, tmp_path):
    out = publish(load(), tmp_path / "out", checkpoints(), about, dtype=torch.float16)
    assert json.loads((out / "training_config.json").read_text()) == {"steps": 30}
    assert (out / "embodiment.yaml").read_text() == "robot: tabletop\n"
    card = (out / "README.md").read_text()
    assert card.startswith("# A test\n")
    assert "3.6 million" in card
    assert "| 30 | " in card
    assert len((out / "actions_metrics.jsonl").read_text().splitlines()) == 30
    assert sum(path.stat().st_size for path in out.rglob("*")) < 20e6
    assert not list(tmp_path.glob(".out*"))


def test_another_folder_is_not_replaced(load, checkpoints, about, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(TrainingError, match="no checkpoint"):
        publish(load(), tmp_path / "mine", checkpoints(), about)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_curves_are_means_of_a_few_rows():
    rows = curve_table([{"step": step, "loss": float(step), "gradient_norm": 1.0} for step in range(1, 25)])
    assert rows[0] == "| step | loss |"
    assert len(rows) == 2 + 12
    assert rows[2] == "| 2 | 1.5 |"
    assert rows[-1] == "| 24 | 23.5 |"
