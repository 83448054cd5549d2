"""Writing checkpoint folders."""

import json

import pytest
import torch

from dream_vla_ros.model import DreamVLAForActionPrediction
from dream_vla_ros.model.checkpoint import COMPONENTS, HEADS
from dream_vla_ros.model.checkpoint_writer import save_checkpoint


def same(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_what_is_written_is_read_back(make_checkpoint, tmp_path):
    model = DreamVLAForActionPrediction.from_pretrained(make_checkpoint(), chunk_size=5)
    folder = save_checkpoint(model, tmp_path / "out", like=make_checkpoint(), step="12")
    again = DreamVLAForActionPrediction.from_pretrained(folder)
    assert same(model, again)
    assert again.chunk_size == 5
    assert again.statistics.data == model.statistics.data
    keys = torch.load(folder / "action_head--12_checkpoint.pt", weights_only=True)
    assert all(key.startswith("module.flow_predictor.mlp_resnet.") for key in keys)


def test_writing_again_leaves_no_stale_shards(make_checkpoint, tmp_path):
    model = DreamVLAForActionPrediction.from_pretrained(make_checkpoint())
    for size in (20_000, 40_000, 10**9, 20_000):
        save_checkpoint(model, tmp_path, like=make_checkpoint(), shard_bytes=size)
        assert same(model, DreamVLAForActionPrediction.from_pretrained(tmp_path))


def test_tied_weights_are_written_once(make_checkpoint, tmp_path):
    model = DreamVLAForActionPrediction.from_pretrained(make_checkpoint(tie_word_embeddings=True))
    save_checkpoint(model, tmp_path, like=make_checkpoint())
    assert same(model, DreamVLAForActionPrediction.from_pretrained(tmp_path))


def test_code_is_not_taken_along(make_checkpoint, tmp_path):
    source = make_checkpoint(auto_map={"AutoModel": "x.Y"})
    (source / "x.py").write_text("")
    model = DreamVLAForActionPrediction.from_pretrained(source)
    save_checkpoint(model, tmp_path, like=source)
    assert "auto_map" not in json.loads((tmp_path / "config.json").read_text())
    assert not (tmp_path / "x.py").exists()


@pytest.mark.parametrize("objective", ["flow_matching", "diffusion", "l1_regression"])
def test_heads_are_read_without_pickle(make_checkpoint, tmp_path, objective):
    model = DreamVLAForActionPrediction.from_pretrained(make_checkpoint(objective=objective), objective)
    save_checkpoint(model, tmp_path, like=make_checkpoint())
    pickled = [path.unlink() for path in tmp_path.glob("*.pt")]
    assert len(pickled) == 2 + (objective != "l1_regression")
    assert same(model, DreamVLAForActionPrediction.from_pretrained(tmp_path, objective))


def test_other_readers_take_the_heads_for_nothing_of_theirs(make_checkpoint, tmp_path):
    """The published code takes files with a component and 'checkpoint' in their names, transformers these."""
    model = DreamVLAForActionPrediction.from_pretrained(make_checkpoint())
    save_checkpoint(model, tmp_path, like=make_checkpoint())
    names = sorted(path.name for path in tmp_path.iterdir())
    for component in COMPONENTS:
        assert len([name for name in names if component in name and "checkpoint" in name]) == 1
    assert [path.name for path in tmp_path.glob("model*.safetensors")] == ["model.safetensors"]
    assert HEADS in names


def test_heads_of_another_kind_do_not_stay(make_checkpoint, tmp_path):
    save_checkpoint(
        DreamVLAForActionPrediction.from_pretrained(make_checkpoint()), tmp_path, like=make_checkpoint()
    )
    discrete = DreamVLAForActionPrediction.from_pretrained(make_checkpoint(objective="discrete"), "discrete")
    discrete.proprio_projector = None
    save_checkpoint(discrete, tmp_path, like=make_checkpoint())
    assert not (tmp_path / HEADS).exists()
