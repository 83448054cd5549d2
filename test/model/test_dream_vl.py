"""Text generation: against the published model, and against doing everything at every step."""

import numpy as np
import pytest
import torch

from dream_vla_ros.model import CheckpointError, DreamVL, ModelInputError, Unmasking
from dream_vla_ros.model.inference_settings import InferenceSettings, Quantization
from dream_vla_ros.model.initialize import initialize_checkpoint
from dream_vla_ros.model.positions import three_axis_positions

LOGITS_TOLERANCE = 1e-3
CASES = ("one_image", "two_images", "text_only")
NEW = 24


@pytest.fixture(scope="module", params=["as read", "optimised"])
def published(golden, request):
    model = DreamVL.from_pretrained(golden / "vl")
    if request.param == "optimised":
        model.optimise()
    return model


@pytest.fixture(scope="module")
def data(golden):
    return dict(np.load(golden / "vl.npz"))


def prompt_of(data, case):
    names = ("input_ids", "pixel_values", "image_grid_thw")
    return {name: data[f"{case}/{name}"] for name in names if f"{case}/{name}" in data}


@pytest.mark.parametrize("case", CASES)
def test_positions_as_published(published, data, case):
    ids = torch.from_numpy(np.append(data[f"{case}/input_ids"][0], [published.config.tokens.mask] * NEW))
    grids = [tuple(row) for row in data.get(f"{case}/image_grid_thw", np.zeros((0, 3), int)).tolist()]
    places = three_axis_positions(ids, grids, published.config)
    np.testing.assert_array_equal(places.numpy(), data[f"{case}/position_ids"][:, 0])


@pytest.mark.parametrize("case", CASES)
def test_logits_as_published(published, data, case):
    logits = published.mask_logits(**prompt_of(data, case), masks=NEW)
    top = logits.gather(1, torch.from_numpy(data[f"{case}/mask_logits_top_ids"])).numpy()
    assert np.abs(top - data[f"{case}/mask_logits_top_values"]).max() < LOGITS_TOLERANCE
    total = logits.logsumexp(-1).numpy()
    assert np.abs(total - data[f"{case}/mask_logits_logsumexp"]).max() < LOGITS_TOLERANCE


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("algorithm", ["maskgit_plus", "topk_margin", "entropy"])
@pytest.mark.parametrize("steps", [24, 6, 1])
def test_sequences_and_histories_as_published(published, data, case, algorithm, steps):
    history = []
    ids = published.generate_ids(
        **prompt_of(data, case), max_new_tokens=NEW, steps=steps, algorithm=algorithm, history=history
    )
    np.testing.assert_array_equal(ids.numpy(), data[f"{case}/{algorithm}_{steps}/sequences"])
    np.testing.assert_array_equal(torch.stack(history).numpy(), data[f"{case}/{algorithm}_{steps}/history"])


@pytest.fixture(scope="module")
def model(make_checkpoint):
    return DreamVL.from_pretrained(make_checkpoint("discrete"))


@pytest.fixture(scope="module")
def prompt(model, make_prompt):
    return make_prompt(model.config)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_shortcuts_change_nothing(model, prompt, steps):
    """Unmask with whole passes: vision, every place and the whole vocabulary at every step."""
    ids, mask = prompt["input_ids"], model.config.tokens.mask
    row = torch.nn.functional.pad(ids, (0, 8), value=mask)
    times = torch.linspace(1, 1e-3, steps + 1)
    for step in range(steps):
        embeds = model.embed(row, prompt["pixel_values"], prompt["image_grid_thw"].tolist())
        rotary = model._rotary(row[0], prompt["image_grid_thw"].tolist())
        with torch.no_grad():
            logits = model.lm_head(model.model(embeds, rotary))[0].roll(1, dims=0)
        masked = row[0] == mask
        probabilities = torch.topk(logits[masked], 50).values.softmax(-1)
        confidence, best = probabilities[:, 0], logits[masked].argmax(-1)
        share = 1 - times[step + 1] / times[step] if step < steps - 1 else 1.0
        number = int(masked.sum() * share)
        filled = torch.full_like(best, mask)
        chosen = confidence.topk(number).indices
        filled[chosen] = best[chosen]
        row[0, masked] = filled
    assert torch.equal(model.generate_ids(**prompt, max_new_tokens=8, steps=steps), row)


@pytest.mark.parametrize("blocked", [True, False])
@pytest.mark.parametrize("refresh", [1, 2])
def test_optimised_it_writes_the_same(make_checkpoint, model, prompt, blocked, refresh):
    fast = DreamVL.from_pretrained(make_checkpoint("discrete"))
    fast.optimise(InferenceSettings(blocked_weights=blocked))
    assert len(fast.model.running) == len(fast.model.layers)
    scores = fast.mask_logits(**prompt, masks=4)
    np.testing.assert_allclose(scores, model.mask_logits(**prompt, masks=4), atol=1e-5)
    told = {"max_new_tokens": 8, "steps": 4, "refresh_every": refresh}
    assert torch.equal(fast.generate_ids(**prompt, **told), model.generate_ids(**prompt, **told))


def test_it_is_quantised_once(make_checkpoint):
    model = DreamVL.from_pretrained(make_checkpoint("discrete"))
    model.optimise()
    model.optimise()
    with pytest.raises(ModelInputError, match="other layers already"):
        model.optimise(InferenceSettings(quantization=Quantization.INT8))


def test_one_step_takes_the_best_token_everywhere(model, prompt):
    best = model.mask_logits(**prompt, masks=6).argmax(-1)
    assert torch.equal(model.generate_ids(**prompt, max_new_tokens=6, steps=1)[0, -6:], best)


def test_vision_runs_once(model, prompt):
    calls = []
    handle = model.visual.register_forward_hook(lambda *_: calls.append(1))
    try:
        model.generate_ids(**prompt, max_new_tokens=6)
    finally:
        handle.remove()
    assert len(calls) == 1


def test_prompt_is_kept_and_a_seed_repeats(model, prompt):
    def run(seed, algorithm):
        generator = torch.Generator().manual_seed(seed)
        return model.generate_ids(
            **prompt, max_new_tokens=12, algorithm=algorithm, temperature=1.5, generator=generator
        )

    for algorithm in ("origin", "maskgit_plus"):
        first = run(0, algorithm)
        assert torch.equal(first[:, :-12], prompt["input_ids"])
        assert torch.equal(first, run(0, algorithm))
        assert not torch.equal(first, run(1, algorithm))


def test_everything_about_unmasking_at_once(model, prompt):
    history = []
    how = Unmasking(3, "entropy", top_k=None, eos_penalty=0.5)
    model.generate_ids(**prompt, max_new_tokens=9, how=how, history=history)
    assert [tuple(state.shape) for state in history] == [(1, 9)] * 3


def test_rotary_sections_must_fill_a_head(make_checkpoint):
    with pytest.raises(CheckpointError, match="mrope_section"):
        DreamVL.from_pretrained(make_checkpoint("discrete", mrope_section=[1, 1, 1]))


@pytest.mark.parametrize("new", [0, -1, 1.5])
def test_new_tokens_are_counted(model, prompt, new):
    with pytest.raises(ModelInputError, match="max_new_tokens"):
        model.generate_ids(**prompt, max_new_tokens=new)


def test_one_answer_at_a_time(model):
    with pytest.raises(ModelInputError, match="2 rows"):
        model.generate_ids([[1, 2], [3, 4]])


@pytest.fixture(scope="module")
def speaker(tabletop_tiny, tmp_path_factory):
    return DreamVL.from_pretrained(
        initialize_checkpoint(tabletop_tiny, tmp_path_factory.mktemp("vl"), "discrete")
    )


def test_an_answer_is_the_decoded_continuation(speaker):
    frame = np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    parts = [{"type": "image"}, {"type": "video"}, {"type": "text", "text": "What is on the table?"}]
    messages = [{"role": "user", "content": parts}]
    answer = speaker.generate(messages, [frame], 12, 6, "entropy", videos=[[frame] * 4])
    inputs = speaker.processor.encode(messages, [frame], [[frame] * 4])
    ids = speaker.generate_ids(**inputs, max_new_tokens=12, steps=6, algorithm="entropy")
    assert answer == speaker.processor.decode(ids[0, -12:])

    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        return speaker.generate(messages, [frame], 12, videos=[[frame]], temperature=2.0, generator=generator)

    again = [drawn(seed) for seed in (0, 0, 1)]
    assert again[0] == again[1] != again[2]


def test_an_answer_needs_the_tokenizer(model):
    with pytest.raises(ModelInputError, match="tokenizer"):
        model.generate([{"role": "user", "content": "hello"}])


@pytest.mark.parametrize("every", [1, 2, 3])
def test_the_prompt_is_run_again_as_often_as_asked(model, prompt, every):
    lengths = []
    handle = model.model.layers[0].register_forward_pre_hook(
        lambda _, inputs: lengths.append(inputs[0].shape[1])
    )
    try:
        ids = model.generate_ids(**prompt, max_new_tokens=6, steps=5, refresh_every=every)
    finally:
        handle.remove()
    whole = ids.shape[1]
    assert lengths == [whole if step % every == 0 else 7 for step in range(5)]
    if every == 1:
        assert torch.equal(ids, model.generate_ids(**prompt, max_new_tokens=6, steps=5))


def test_a_kept_prompt_gives_nearly_the_same(model, prompt):
    """Random weights attend everywhere alike, so an answer hardly depends on how the prompt saw its masks."""
    exact = model.generate_ids(**prompt, max_new_tokens=12)
    kept = model.generate_ids(**prompt, max_new_tokens=12, refresh_every=4)
    assert (exact == kept).float().mean() > 0.8


@pytest.mark.parametrize("every", [0, 1.5, True])
def test_refreshing_is_counted(model, prompt, every):
    with pytest.raises(ModelInputError, match="refresh_every"):
        model.generate_ids(**prompt, max_new_tokens=3, refresh_every=every)


def test_an_early_stop_saves_passes(model, prompt):
    """Every place ends the text, so there is nothing left to say once the first place is settled."""
    tokens, calls, history = model.config.tokens, [], []
    direction = torch.randn(32, generator=torch.Generator().manual_seed(1))  # settles it before the last step
    with torch.no_grad():
        kept = model.lm_head.weight.clone()
        model.lm_head.weight.zero_()
        model.lm_head.weight[[tokens.eos, tokens.im_end]] = torch.stack([direction, -direction])
    handle = model.model.norm.register_forward_hook(lambda *_: calls.append(1))
    try:
        model.generate_ids(**prompt, max_new_tokens=12, how=Unmasking(12), history=history)
        assert len(calls) == 12
        needed = next(step for step, state in enumerate(history, 1) if state[0, 0] != tokens.mask)
        calls.clear()
        stopped = model.generate_ids(**prompt, max_new_tokens=12, how=Unmasking(12, stop_early=True))[0, -12:]
    finally:
        handle.remove()
        with torch.no_grad():
            model.lm_head.weight.copy_(kept)
    assert len(calls) == needed < 12
    assert stopped[0] in (tokens.eos, tokens.im_end)
    assert set(stopped[1:].tolist()) == {tokens.pad}
