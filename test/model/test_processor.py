"""Images and instructions to what the networks take."""

import json
import shutil

import numpy as np
import pytest
import torch

from dream_vla_ros.model import DreamProcessor, DreamVLAForActionPrediction, DreamVLAProcessor
from dream_vla_ros.model.config import VisionConfig
from dream_vla_ros.model.errors import CheckpointError, ModelInputError
from dream_vla_ros.model.initialize import initialize_checkpoint
from dream_vla_ros.model.processor import load_image_processor

PIXEL_TOLERANCE = 1e-5  # of the golden data
MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])


@pytest.fixture(scope="module")
def processor(tabletop_tiny):
    return DreamVLAProcessor.from_pretrained(tabletop_tiny)


def picture(height=112, width=112, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["libero_full", "libero_wrist", "synthetic_480x640"])
def test_patches_as_published(golden, tmp_path, name):
    data = np.load(golden / "preprocess.npz")
    made = load_image_processor(tmp_path, VisionConfig())(
        images=[data[f"{name}/center_cropped"]], return_tensors="np"
    )
    np.testing.assert_array_equal(made["image_grid_thw"], data[f"{name}/image_grid_thw"])
    assert np.abs(made["pixel_values"] - data[f"{name}/pixel_values"]).max() < PIXEL_TOLERANCE


def test_large_images_as_dream_vl_sees_them(golden, tmp_path):
    data = np.load(golden / "preprocess.npz")
    raw = data["synthetic_480x640/raw"]
    made = load_image_processor(tmp_path, VisionConfig())(images=[raw], return_tensors="np")
    np.testing.assert_array_equal(made["image_grid_thw"], data["synthetic_480x640/raw_image_grid_thw"])
    first = made["pixel_values"][:64]
    assert np.abs(first - data["synthetic_480x640/raw_pixel_values_first64"]).max() < PIXEL_TOLERANCE


def test_patches_written_out(processor):
    image = picture()
    made = processor.encode_images([image])
    assert made["image_grid_thw"].tolist() == [[1, 8, 8]]
    normal = (image / 255.0 - MEAN) / STD
    for index in (0, 1, 2, 3, 4, 37, 63):
        square, inside = divmod(index, 4)
        row, column = 2 * (square // 4) + inside // 2, 2 * (square % 4) + inside % 2
        patch = normal[14 * row : 14 * row + 14, 14 * column : 14 * column + 14].transpose(2, 0, 1)
        expected = np.repeat(patch[:, None], 2, axis=1).ravel()
        np.testing.assert_allclose(made["pixel_values"][index], expected, atol=1e-5)


def test_prompt_is_the_published_question(processor):
    made = processor([picture(), picture(seed=1)], "Pick up the RED block")
    text = processor.decode(made["input_ids"], keep_special=True)
    image = f"<|vision_start|>{'<|image_pad|>' * 16}<|vision_end|>"
    question = "What action should the robot take to pick up the red block?"
    assert text == f"<|im_start|>user\n{image * 2}{question}<|im_end|>\n<|im_start|>assistant\n"


def test_remembered_prompts_are_the_same_and_apart(processor):
    first = processor([picture()], "lift it")["input_ids"]
    first += 1
    second = processor([picture()], "lift it")["input_ids"]
    assert torch.equal(second + 1, first)
    assert not torch.equal(processor([picture()], "drop it")["input_ids"], second)
    assert processor([picture()] * 2, "lift it")["input_ids"].shape[1] > second.shape[1]


def test_memory_of_prompts_does_not_grow(tabletop_tiny):
    processor = DreamVLAProcessor.from_pretrained(tabletop_tiny)
    for index in range(200):
        processor([picture()], f"do thing {index}")
    assert len(processor._prompts) <= 64


@pytest.mark.parametrize("size", [(224, 224), (56, 140), (84, 112)])
def test_other_image_sizes_make_their_own_number_of_tokens(processor, size):
    made = processor([picture(*size)], "go")
    places = int((made["input_ids"] == processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum())
    assert places == size[0] * size[1] // 28**2


def test_views_with_negative_strides_are_read_right(processor):
    image = picture()
    turned = processor.encode_images([image[::-1, ::-1]])["pixel_values"]
    plain = processor.encode_images([image[::-1, ::-1].copy()])["pixel_values"]
    assert torch.equal(turned, plain)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "at least one"),
        ([picture().astype(np.float32)], "uint8"),
        ([picture()[..., :1]], "RGB"),
        ([picture()[..., 0]], "RGB"),
        ([picture()[:0]], "RGB"),
        (["image.png"], "uint8"),
        ([picture(2, 900)], "cut into patches"),
    ],
)
def test_malformed_images_are_refused(processor, images, words):
    with pytest.raises(ModelInputError, match=words):
        processor(images, "go")


@pytest.mark.parametrize("instruction", ["", "   ", None, 3])
def test_an_instruction_is_words(processor, instruction):
    with pytest.raises(ModelInputError, match="instruction"):
        processor([picture()], instruction)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch_size": 16}, "patch_size"),
        ({"merge_size": 4}, "merge_size"),
        ({"image_mean": [0.5]}, "image_mean"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path, change, words):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(change))
    with pytest.raises(CheckpointError, match=words):
        load_image_processor(tmp_path, VisionConfig())


@pytest.mark.parametrize(
    "size", [{"min_pixels": 50176}, {"size": {"shortest_edge": 50176, "longest_edge": 60000}}]
)
def test_smallest_size_is_found_wherever_it_was_saved(tmp_path, size):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(size))
    made = load_image_processor(tmp_path, VisionConfig())(images=[picture()], return_tensors="np")
    assert made["image_grid_thw"].tolist() == [[1, 16, 16]]


def test_answers_end_with_the_turn(processor):
    ids = processor.tokenizer.encode("yes, it is<|im_end|>\n<|endoftext|>")
    assert processor.decode(ids) == "yes, it is"


def test_conversation_without_images(tabletop_tiny):
    made = DreamProcessor.from_pretrained(tabletop_tiny).encode([{"role": "user", "content": "hello"}])
    assert set(made) == {"input_ids"}


def test_a_whole_prediction_from_folder_and_images(tabletop_tiny, tmp_path):
    folder = initialize_checkpoint(tabletop_tiny, tmp_path / "out", "flow_matching", 0)
    for name in ("modeling_dreamvl.py", "processing_dreamvl.py"):
        (folder / name).write_text("raise SystemExit('remote code ran')")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling_dreamvl.DreamVLAForActionPrediction"}
    (folder / "config.json").write_text(json.dumps(config))
    model = DreamVLAForActionPrediction.from_pretrained(folder)
    made = DreamVLAProcessor.from_pretrained(folder)([picture(), picture(seed=1)], "push the green block")
    proprio = model.normalize_proprio(np.zeros(8), "tabletop")
    normalized = model.predict_actions(**made, proprio=proprio, generator=torch.Generator().manual_seed(0))
    assert normalized.shape == (8, 7)
    assert normalized.dtype == np.float32
    assert np.isfinite(model.unnormalize(normalized, "tabletop")).all()
    shutil.rmtree(folder)


def test_video_patches_span_frames(processor):
    frames = [picture(56, 84, seed) for seed in range(3)]
    made = processor.encode_video(frames)
    assert made["image_grid_thw"].tolist() == [[2, 4, 6]]
    stills = [processor.encode_images([frame])["pixel_values"].unflatten(1, (3, 2, 196)) for frame in frames]
    moving = made["pixel_values"].unflatten(1, (3, 2, 196))
    for patch in (0, 7, 23):
        assert torch.equal(moving[patch, :, 0], stills[0][patch, :, 0])
        assert torch.equal(moving[patch, :, 1], stills[1][patch, :, 1])
        assert torch.equal(moving[24 + patch], stills[2][patch])  # the last frame is repeated


def test_images_and_videos_come_in_the_order_of_the_words(processor):
    image, frames = picture(), [picture(56, 56, seed) for seed in range(2)]
    parts = [{"type": "video"}, {"type": "text", "text": "and"}, {"type": "image"}]
    made = processor.encode([{"role": "user", "content": parts}], [image], [frames])
    assert made["image_grid_thw"].tolist() == [[1, 4, 4], [1, 8, 8]]
    assert torch.equal(made["pixel_values"][:16], processor.encode_video(frames)["pixel_values"])
    assert torch.equal(made["pixel_values"][16:], processor.encode_images([image])["pixel_values"])


@pytest.mark.parametrize(
    ("images", "videos", "words"),
    [
        (0, 1, "more images"),
        (1, 2, "1 of the images and videos"),
        (1, 0, "1 were given"),
        (2, 1, "1 of the images"),
    ],
)
def test_as_many_images_and_videos_as_shown(processor, images, videos, words):
    parts = [{"type": "image"}, {"type": "video"}]
    with pytest.raises(ModelInputError, match=words):
        processor.encode([{"role": "user", "content": parts}], [picture()] * images, [[picture()]] * videos)


@pytest.mark.parametrize("frames", [[], [picture(), picture(56, 56)]])
def test_frames_of_a_video_are_of_one_size(processor, frames):
    with pytest.raises(ModelInputError, match="frames"):
        processor.encode_video(frames)
