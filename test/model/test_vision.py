"""The vision tower against the library's, on the same weights."""

import pytest
import torch
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from dream_vla_ros.model.config import VisionConfig
from dream_vla_ros.model.vision import VisionTower

SHAPES = {
    "two equal images": (VisionConfig(2, 32, 2, 4, 24, patch_size=4), [(1, 4, 6), (1, 4, 6)]),
    "different images": (VisionConfig(1, 48, 3, 2, 20, patch_size=6), [(1, 8, 2), (1, 2, 4), (1, 6, 6)]),
    "video": (VisionConfig(2, 32, 4, 4, 16, patch_size=4), [(3, 4, 4), (1, 4, 4)]),
    "wider merge": (VisionConfig(1, 32, 2, 3, 16, patch_size=4, spatial_merge_size=3), [(1, 6, 9)]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_same_as_the_library(shape):
    config, grids = SHAPES[shape]
    torch.manual_seed(0)
    theirs = Qwen2VisionTransformerPretrainedModel(
        Qwen2VLVisionConfig(
            depth=config.depth,
            embed_dim=config.embed_dim,
            num_heads=config.num_heads,
            mlp_ratio=int(config.mlp_ratio),
            hidden_size=config.hidden_size,
            patch_size=config.patch_size,
            spatial_merge_size=config.spatial_merge_size,
        )
    ).eval()
    ours = VisionTower(config).eval()
    ours.load_state_dict(theirs.state_dict())
    patches = torch.randn(sum(t * h * w for t, h, w in grids), config.patch_width)
    with torch.no_grad():
        expected = theirs(patches, torch.tensor(grids)).pooler_output
        torch.testing.assert_close(ours(patches, grids), expected, atol=2e-5, rtol=1e-4)


def test_images_do_not_see_each_other():
    config, grids = SHAPES["two equal images"]
    torch.manual_seed(0)
    tower = VisionTower(config).eval()
    first, second, other = torch.randn(3, 24, config.patch_width)
    with torch.no_grad():
        pair = tower(torch.cat([first, second]), grids)
        changed = tower(torch.cat([first, other]), grids)
        alone = tower(first, grids[:1])
    torch.testing.assert_close(pair[:6], changed[:6])
    torch.testing.assert_close(pair[:6], alone)
    assert not torch.allclose(pair[6:], changed[6:])
