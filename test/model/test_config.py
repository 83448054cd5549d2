"""Reading sizes and ids from config.json."""

import json

import pytest

from dream_vla_ros.model.config import DreamConfig, TokenIds, VisionConfig
from dream_vla_ros.model.errors import CheckpointError


def test_published_7b_is_only_numbers(tabletop_tiny):
    config = DreamConfig.from_folder(tabletop_tiny.parent / "dream_vla_7b")
    assert (config.hidden_size, config.num_hidden_layers, config.head_dim) == (3584, 28, 128)
    assert config.vision == VisionConfig()
    assert config.tokens == TokenIds()
    assert config.tokens.closing == (151645, 198)


def test_what_a_saved_vision_config_leaves_out_is_published(make_config):
    data = make_config() | {"vision_config": {"embed_dim": 640, "in_chans": 3, "model_type": "dream_vl"}}
    assert DreamConfig.from_dict(data).vision == VisionConfig(embed_dim=640)


def test_key_value_heads_default_to_heads(make_config):
    data = make_config(num_key_value_heads=None)
    assert DreamConfig.from_dict(data).num_key_value_heads == 4


def test_rope_theta_is_found_where_newer_configs_keep_it(make_config):
    data = make_config()
    data["rope_parameters"] = {"rope_type": "default", "rope_theta": data.pop("rope_theta")}
    assert DreamConfig.from_dict(data).rope_theta == 10000.0


def test_action_tokens_follow_the_mask_token(make_config):
    assert DreamConfig.from_dict(make_config()).tokens.tokenizer_length == 420 + 1 + 64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": None}, "hidden_size"),
        ({"rope_theta": None}, "rope_theta"),
        ({"num_attention_heads": 5}, "num_attention_heads"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"hidden_size": -32}, "hidden_size"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers"),
        ({"vision_config": {"num_heads": 3}}, "embed_dim"),
        ({"vision_config": {"num_heads": 16}}, "embed_dim"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "yarn"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"n_action_bins": 1}, "n_action_bins"),
        ({"hidden_act": "sillu"}, "sillu"),
        ({"vision_config": {"hidden_act": "fast_gelu"}}, "fast_gelu"),
    ],
)
def test_bad_numbers_are_named(make_config, change, words):
    with pytest.raises(CheckpointError, match=words):
        DreamConfig.from_dict(make_config(**change))


@pytest.mark.parametrize("content", ["{", "[1, 2]", "\udcff"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        DreamConfig.from_folder(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        DreamConfig.from_folder(tmp_path)


def test_auto_map_and_unknown_keys_do_not_matter(make_config, tmp_path):
    data = make_config(auto_map={"AutoConfig": "evil.Evil"}, something_new=3)
    (tmp_path / "config.json").write_text(json.dumps(data))
    assert DreamConfig.from_folder(tmp_path) == DreamConfig.from_dict(make_config())
