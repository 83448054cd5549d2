"""Small checkpoints, prompts and the golden data that the model tests share."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dream_vla_ros.model.initialize import initialize_checkpoint

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(os.environ.get("DREAM_VLA_GOLDEN", ROOT.parent / "shared" / "golden"))

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden():
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden data at {GOLDEN}: set DREAM_VLA_GOLDEN to compare with the published models")
    return GOLDEN


@pytest.fixture(scope="session")
def tabletop_tiny():
    return ROOT / "models" / "tabletop_tiny"


@pytest.fixture(scope="session")
def published_algorithm():
    """The benchmark's baseline: an independent, slow implementation to compare with."""
    path = ROOT / "benchmarks" / "baseline" / "published_algorithm.py"
    spec = importlib.util.spec_from_file_location("published_algorithm", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.PublishedAlgorithm


def _config(**overrides):
    """A network of a few thousand parameters, its ids in a vocabulary of 512, without a tokenizer."""
    config = {
        "model_type": "dream-vla",
        "vocab_size": 512,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_theta": 10000.0,
        "mrope_section": [1, 1, 2],
        "projector_hidden_act": "gelu",
        "n_action_bins": 64,
        "initializer_range": 0.2,
        "image_token_id": 402,
        "video_token_id": 403,
        "vision_start_token_id": 400,
        "vision_end_token_id": 401,
        "mask_token_id": 420,
        "pad_token_id": 404,
        "eos_token_id": 404,
        "im_end_token_id": 405,
        "newline_token_id": 10,
        "vision_config": {"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 24, "patch_size": 4},
    }
    vision = config["vision_config"] | overrides.pop("vision_config", {})
    return config | {"vision_config": vision} | overrides


def _statistics(action_dim=7, proprio_dim=8):
    entry = {
        "action": {
            "q01": np.linspace(-0.5, -0.1, action_dim).tolist(),
            "q99": np.linspace(0.2, 1.0, action_dim).tolist(),
            "mask": [True] * (action_dim - 1) + [False],
        }
    }
    if proprio_dim:
        entry["proprio"] = {"q01": [-1.0] * proprio_dim, "q99": np.linspace(1, 2, proprio_dim).tolist()}
    return {"somewhere": entry}


@pytest.fixture(scope="session")
def make_config():
    return _config


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory):
    """Write (and remember) random checkpoints; keyword arguments change the config."""
    made = {}

    def make(objective="flow_matching", action_dim=7, proprio_dim=8, seed=0, shard_bytes=10**9, **overrides):
        key = json.dumps([objective, action_dim, proprio_dim, seed, shard_bytes, overrides])
        if key not in made:
            source = tmp_path_factory.mktemp("config")
            (source / "config.json").write_text(json.dumps(_config(**overrides)))
            (source / "dataset_statistics.json").write_text(json.dumps(_statistics(action_dim, proprio_dim)))
            out = tmp_path_factory.mktemp(objective)
            made[key] = initialize_checkpoint(source, out, objective, seed, shard_bytes=shard_bytes)
        return made[key]

    return make


@pytest.fixture(scope="session")
def make_prompt():
    """Make the arguments of one prediction for a config's numbers and images of the given grids."""

    def make(config, grids=((1, 4, 6), (1, 4, 6)), seed=0):
        rng = np.random.default_rng(seed)
        tokens, vision = config.tokens, config.vision
        ids = [300, 301]
        for frames, rows, columns in grids:
            count = frames * rows * columns // vision.patches_per_token
            ids += [tokens.vision_start, *[tokens.image] * count, tokens.vision_end]
        ids += rng.integers(0, 300, 6).tolist()
        patches = sum(t * h * w for t, h, w in grids)
        return {
            "input_ids": torch.tensor([ids]),
            "pixel_values": torch.from_numpy(
                rng.standard_normal((patches, vision.patch_width), dtype=np.float32)
            ),
            "image_grid_thw": torch.tensor(grids),
        }

    return make
