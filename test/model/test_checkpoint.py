"""Checkpoint folders, good and bad."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from dream_vla_ros.model import CheckpointError, DreamVL, DreamVLAForActionPrediction
from dream_vla_ros.model.checkpoint import HEADS

HEAD = "action_head--latest_checkpoint.pt"
NOISY = "noisy_action_projector--latest_checkpoint.pt"
PROPRIO = "proprio_projector--latest_checkpoint.pt"


@pytest.fixture
def folder(make_checkpoint, tmp_path):
    """A flow-matching checkpoint in the published layout alone, which a test may damage."""
    copy = shutil.copytree(make_checkpoint(), tmp_path / "checkpoint")
    (copy / HEADS).unlink()
    return copy


def read(folder, objective="flow_matching", **arguments):
    return DreamVLAForActionPrediction.from_pretrained(folder, objective, **arguments)


def refused(folder, words, objective="flow_matching"):
    with pytest.raises(CheckpointError, match=words) as caught:
        read(folder, objective)
    return str(caught.value)


def edit_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def edit_component(path, change):
    weights = torch.load(path, weights_only=True)
    torch.save(change(weights) or weights, path)


def edit_json(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_shards_are_the_same_as_one_file(make_checkpoint):
    whole, parts = read(make_checkpoint()), read(make_checkpoint(shard_bytes=20_000))
    assert len(list(make_checkpoint(shard_bytes=20_000).glob("model-*.safetensors"))) > 2
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_everything_is_converted_and_in_its_place(folder, dtype):
    model = read(folder, dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert not model.training
    saved = load_file(folder / "model.safetensors")["model.layers.1.mlp.up_proj.weight"]
    assert torch.equal(model.model.layers[1].mlp.up_proj.weight, saved.to(dtype))


def test_prefix_of_distributed_training_may_be_absent(folder):
    before = read(folder).action_head.fc1.weight
    edit_component(folder / HEAD, lambda w: {key.removeprefix("module."): value for key, value in w.items()})
    assert torch.equal(read(folder).action_head.fc1.weight, before)


@pytest.mark.parametrize("kept", ["lm_head.weight", "model.embed_tokens.weight"])
def test_tied_embeddings_may_be_saved_under_either_name(make_checkpoint, tmp_path, kept):
    folder = shutil.copytree(make_checkpoint(tie_word_embeddings=True), tmp_path / "tied")

    def rename(weights):
        weights[kept] = weights.pop("model.embed_tokens.weight")

    edit_weights(folder, rename)
    model = read(folder)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert not model.lm_head.weight.is_meta


def test_rotary_tables_of_old_exports_are_passed_over(folder):
    edit_weights(folder, lambda w: w.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}))
    read(folder)


def test_base_checkpoint_runs_discrete_objectives_only(folder):
    for name in (HEAD, NOISY, PROPRIO, "dataset_statistics.json"):
        (folder / name).unlink()
    for objective in ("discrete", "discrete_diffusion"):
        assert read(folder, objective).action_dim == 7
    for objective in ("flow_matching", "diffusion", "l1_regression"):
        message = refused(folder, "action_head--", objective)
        assert "base checkpoint" in message
        assert "discrete" in message


def test_statistics_of_a_base_checkpoint_lie_in_its_config(folder):
    statistics = json.loads((folder / "dataset_statistics.json").read_text())
    (folder / "dataset_statistics.json").unlink()
    edit_json(folder / "config.json", lambda d: d.update(norm_stats=statistics))
    assert read(folder, "discrete").statistics.keys == ["somewhere"]


@pytest.mark.parametrize("name", [HEAD, NOISY, "config.json", "model.safetensors", "dataset_statistics.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, name.split("--")[0].replace(".", r"\."))


@pytest.mark.parametrize("name", [HEAD, NOISY, PROPRIO])
def test_a_doubled_file_is_named(folder, name):
    twin = name.replace("latest", "5000")
    shutil.copyfile(folder / name, folder / twin)
    message = refused(folder, "2 files")
    assert name in message
    assert twin in message


@pytest.mark.parametrize("name", [HEAD, NOISY, PROPRIO, "model.safetensors"])
@pytest.mark.parametrize("damage", [b"", b"not a file of tensors", None])
def test_a_damaged_file_is_named(folder, name, damage):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2] if damage is None else damage)
    refused(folder, name)


@pytest.mark.parametrize("trained", ["flow_matching", "diffusion", "l1_regression"])
@pytest.mark.parametrize("asked", ["flow_matching", "diffusion", "l1_regression"])
def test_another_objective_is_refused_with_both_names(make_checkpoint, trained, asked):
    folder = make_checkpoint(trained)
    if asked == trained:
        assert read(folder, asked).objective.value == asked
    else:
        message = refused(folder, HEAD, asked)
        assert asked in message
        assert trained in message


def test_a_head_of_another_width_is_refused(make_checkpoint, folder):
    shutil.copyfile(make_checkpoint(hidden_size=48) / HEAD, folder / HEAD)
    message = refused(folder, HEAD)
    assert "336" in message
    assert "224" in message


@pytest.mark.parametrize("name", [NOISY, PROPRIO])
def test_a_projector_of_another_width_is_refused(make_checkpoint, folder, name):
    shutil.copyfile(make_checkpoint(hidden_size=48) / name, folder / name)
    refused(folder, name)


def test_a_state_projector_in_place_of_the_noise_projector_is_refused(folder):
    shutil.copyfile(folder / PROPRIO, folder / NOISY)
    refused(folder, NOISY)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.pop("module.flow_predictor.mlp_resnet.fc2.bias") is None,
        lambda w: w.pop("module.flow_predictor.mlp_resnet.fc1.weight") is None,
        lambda w: w.update({"module.flow_predictor.mlp_resnet.extra": torch.ones(1)}),
        lambda w: w.update({"module.elsewhere": torch.ones(1)}),
        lambda w: w.update({"module.flow_predictor.mlp_resnet.layer_norm2.weight": torch.ones(5)}),
        lambda w: {"weights": [1, 2]},
        lambda w: [torch.ones(2)],
    ],
)
def test_a_head_with_other_tensors_is_refused(folder, change):
    edit_component(folder / HEAD, change)
    refused(folder, HEAD)


def test_code_in_a_head_file_is_not_run(folder):
    class Trap:
        def __reduce__(self):
            return exit, (3,)

    torch.save({"module.model.fc1.weight": Trap()}, folder / HEAD)
    refused(folder, HEAD)


def test_a_missing_tensor_is_named(folder):
    edit_weights(folder, lambda w: w.pop("model.layers.1.mlp.up_proj.weight"))
    refused(folder, r"model\.layers\.1\.mlp\.up_proj\.weight")


def test_an_unexpected_tensor_is_named(folder):
    edit_weights(folder, lambda w: w.update({"model.layers.7.extra": torch.ones(1)}))
    refused(folder, r"model\.layers\.7\.extra")


def test_a_tensor_of_another_shape_is_named_with_both_shapes(folder):
    edit_weights(folder, lambda w: w.update({"model.norm.weight": torch.ones(5)}))
    assert "(32,)" in refused(folder, r"model\.norm\.weight is \(5,\)")


def test_a_config_of_another_model_is_refused(folder):
    edit_json(folder / "config.json", lambda d: d.update(intermediate_size=64))
    refused(folder, r"mlp\.\w+_proj\.weight")


def test_a_missing_shard_is_named(make_checkpoint, tmp_path):
    folder = shutil.copytree(make_checkpoint(shard_bytes=20_000), tmp_path / "sharded")
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    refused(folder, shard.name)


def test_an_index_that_misplaces_a_tensor_is_named(make_checkpoint, tmp_path):
    folder = shutil.copytree(make_checkpoint(shard_bytes=20_000), tmp_path / "sharded")
    first = sorted(folder.glob("model-*.safetensors"))[0].name

    def misplace(index):
        name = next(name for name, file in index["weight_map"].items() if file != first)
        index["weight_map"][name] = first

    edit_json(folder / "model.safetensors.index.json", misplace)
    refused(folder, first)


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": {"a": "../../secret.safetensors"}}])
def test_a_malformed_index_is_named(folder, index):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, r"model\.safetensors\.index\.json")


def test_two_sets_of_weights_are_refused(folder):
    (folder / "model.safetensors.index.json").write_text("{}")
    refused(folder, "both")


@pytest.mark.parametrize("adapter", ["lora_adapter", None])
def test_an_unmerged_adapter_says_what_to_do(folder, adapter):
    (folder / "model.safetensors").unlink()
    if adapter:
        (folder / adapter).mkdir()
    else:
        (folder / "adapter_config.json").write_text("{}")
    refused(folder, "dream_vla merge")


def test_a_merged_folder_may_keep_its_adapter(folder):
    (folder / "lora_adapter").mkdir()
    read(folder)


def test_statistics_of_another_robot_are_refused(make_checkpoint, folder):
    shutil.copyfile(
        make_checkpoint(action_dim=6) / "dataset_statistics.json", folder / "dataset_statistics.json"
    )
    refused(folder, "7 action dimensions")


def test_robots_of_different_actions_need_a_choice(make_checkpoint, folder):
    other = json.loads((make_checkpoint(action_dim=6) / "dataset_statistics.json").read_text())
    edit_json(folder / "dataset_statistics.json", lambda d: d.update(elsewhere=other["somewhere"]))
    assert read(folder).action_dim == 7
    refused(folder, r"\[6, 7\]", "discrete")


def test_no_folder_is_not_downloaded(tmp_path):
    refused(tmp_path / "Dream-org" / "Dream-VLA-7B", "no folder")


def test_dream_vl_is_not_read_as_dream_vla(folder):
    edit_json(folder / "config.json", lambda d: d.update(model_type="dream-vl"))
    refused(folder, "DreamVL")
    assert isinstance(DreamVL.from_pretrained(folder), DreamVL)


def test_an_unknown_objective_lists_the_known(folder):
    with pytest.raises(ValueError, match="flow_matching, l1_regression"):
        read(folder, "regression")
