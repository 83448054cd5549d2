"""Random checkpoints."""

import json

import pytest
import torch
from safetensors.torch import load_file

from dream_vla_ros.model import CheckpointError, DreamVLAForActionPrediction, Objective
from dream_vla_ros.model.initialize import initialize_checkpoint


def weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("objective", list(Objective))
def test_every_objective_goes_through_the_usual_reading(tabletop_tiny, tmp_path, objective):
    folder = initialize_checkpoint(tabletop_tiny, tmp_path / objective.value, objective, 1)
    model = DreamVLAForActionPrediction.from_pretrained(folder, objective)
    assert (model.chunk_size, model.action_dim) == (8, 7)
    assert 3_000_000 < sum(parameter.numel() for parameter in model.parameters()) < 4_000_000
    assert model.proprio_projector.input_width == 8
    assert (model.action_head is not None) is objective.continuous


def test_same_seed_same_weights(tabletop_tiny, tmp_path):
    first, again, other = (
        weights(initialize_checkpoint(tabletop_tiny, tmp_path / str(i), seed=seed))
        for i, seed in enumerate((3, 3, 4))
    )
    name = "model.layers.0.mlp.up_proj.weight"
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first[name], other[name])


def test_without_statistics_there_is_no_action_size(make_config, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(make_config()))
    with pytest.raises(CheckpointError, match="dataset_statistics"):
        initialize_checkpoint(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
