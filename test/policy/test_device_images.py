"""Images prepared on the model's device: the same as on the processor, but for rounding."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from dream_vla_ros.images import Preprocessing, jpeg_round_trip, preprocess
from dream_vla_ros.policy.device_images import DeviceImages
from dream_vla_ros.policy.device_jpeg import JpegRoundTrip

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]
PLAIN = Preprocessing(56, jpeg=False, crop_area=0.9)
# Rounding: a resized or cropped pixel on the border between two levels falls either way.
TIES = 0.01
JPEG_MEAN = 0.8  # levels, of rounding in the encoder; noise is the worst
JPEG_BIAS = 0.4  # levels; the decoder itself shifts red and blue by more than one, which must be met


@pytest.fixture(scope="module")
def processor():
    return Qwen2VLImageProcessorPil(patch_size=14, temporal_patch_size=2, merge_size=2)


def picture(height, width, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def pixels(images, settings, processor, device="cpu"):
    made = DeviceImages(settings, processor, torch.device(device)).pixels(torch.from_numpy(images).to(device))
    return made.permute(0, 2, 3, 1).cpu().numpy()


@given(
    height=st.integers(9, 200),
    width=st.integers(9, 200),
    size=st.sampled_from([28, 56, 112]),
    area=st.sampled_from([1.0, 0.9, 0.5]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_resize_and_crop_are_the_same_but_for_ties(processor, height, width, size, area, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    steps = Preprocessing(size, jpeg=False, crop_area=area)
    expected = preprocess(image, steps).astype(float)
    off = np.abs(pixels(image[None], steps, processor)[0] - expected)
    assert off.max() <= 1
    assert (off > 0).mean() < max(TIES, 3 / off.size)


@pytest.mark.parametrize("shape", [(48, 64), (50, 61), (17, 8)])
@pytest.mark.parametrize("noise", [True, False])
def test_jpeg_loses_what_it_loses_on_the_processor(shape, noise):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8) if noise else picture(*shape)
    expected = jpeg_round_trip(image).astype(float)
    given = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    made = JpegRoundTrip(torch.device("cpu"))(given)[0].permute(1, 2, 0).numpy()
    assert np.abs(made - expected).mean() < JPEG_MEAN
    assert np.abs((made - expected).mean((0, 1))).max() < JPEG_BIAS
    assert np.abs(expected - image).mean() > JPEG_MEAN, "nothing was lost to compare"


@pytest.mark.parametrize("device", DEVICES)
def test_patches_are_the_processors(processor, device):
    images = [picture(60, 80, seed) for seed in range(2)] + [picture(40, 90)]
    made, grids = DeviceImages(PLAIN, processor, torch.device(device))(images)
    expected = processor(images=[preprocess(image, PLAIN) for image in images], return_tensors="np")
    np.testing.assert_array_equal(grids.numpy(), expected["image_grid_thw"])
    assert made.shape == expected["pixel_values"].shape
    off = np.abs(made.cpu().numpy() - expected["pixel_values"])
    level = 1 / 255 / min(processor.image_std)
    assert off.max() < 1.01 * level
    assert (off > 0.5 * level).mean() < TIES


@pytest.mark.parametrize("device", DEVICES)
def test_the_next_images_are_new(processor, device):
    prepare = DeviceImages(PLAIN, processor, torch.device(device))
    first, second = picture(60, 80, 0), picture(60, 80, 1)
    kept = prepare([first])[0]
    assert not torch.equal(prepare([second])[0], kept)
    assert torch.equal(prepare([first])[0], kept)


def test_sizes_that_are_no_whole_tokens_are_refused(processor):
    with pytest.raises(ValueError, match="28-pixel"):
        DeviceImages(replace(PLAIN, size=60), processor, torch.device("cpu"))
