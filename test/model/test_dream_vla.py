"""Predicting actions: against the published models' numbers, and against the written-out algorithm."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dream_vla_ros.model import DreamVLAForActionPrediction, ModelInputError, Objective
from dream_vla_ros.model.inference_settings import InferenceSettings

GOLDEN_TOLERANCE = 1e-4  # of the golden data, on un-normalised actions
WRITTEN_OUT_TOLERANCE = 2e-5  # float32 rounding in another order of operations
SETUPS = {"libero": ("libero_spatial_no_noops", 8), "bridge": ("bridge_orig", 5)}
GOLDEN_STEPS = {
    "flow_matching": (1, 2, 4, 8),
    "diffusion": (10, 50),
    "l1_regression": (None,),
    "discrete": (None,),
    "discrete_diffusion": (1, 4),
}
GOLDEN_CASES = [
    (setup, objective, steps)
    for setup in SETUPS
    for objective, all_steps in GOLDEN_STEPS.items()
    for steps in all_steps
]
RUN_AS = (
    None,
    replace(InferenceSettings.plain(), fused_weights=True),
    replace(InferenceSettings.plain(), tables=True),
    replace(InferenceSettings.plain(), remembered_prompts=2),
    replace(InferenceSettings.plain(), bucket=16),
    InferenceSettings.for_device("cuda"),
)
"""The plain model, each exact switch by itself, and all that a GPU has on."""
SHAPES = {
    "grouped heads": {"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 1},
    "every head its own": {"num_key_value_heads": 4, "num_hidden_layers": 1},
    "tied": {"tie_word_embeddings": True, "num_hidden_layers": 3},
    "coarse bins": {"n_action_bins": 16},
    "longer tokenizer": {"tokenizer_length": 500, "n_action_bins": 60},
    "wide merge": {"vision_config": {"spatial_merge_size": 3, "embed_dim": 48, "num_heads": 3}},
}


@pytest.fixture(scope="module")
def golden_folder(golden, tmp_path_factory):
    made = {}

    def assemble(setup, objective):
        if (setup, objective) not in made:
            folder = tmp_path_factory.mktemp(f"{setup}_{objective}")
            heads = golden / "heads" / setup
            parts = [golden / "backbone", heads, heads / objective]
            for file in (f for part in parts if part.is_dir() for f in part.iterdir() if f.is_file()):
                (folder / file.name).symlink_to(file)
            made[setup, objective] = folder
        return made[setup, objective]

    return assemble


@pytest.mark.parametrize("settings", RUN_AS, ids=lambda settings: "plain" if settings is None else None)
@pytest.mark.parametrize(("setup", "objective", "steps"), GOLDEN_CASES)
def test_same_as_published(golden, golden_folder, setup, objective, steps, settings):
    key, chunk = SETUPS[setup]
    data = np.load(golden / f"vla_{setup}.npz")
    model = DreamVLAForActionPrediction.from_pretrained(golden_folder(setup, objective), objective, chunk)
    if settings is not None:
        model.optimise(settings)
    proprio = model.normalize_proprio(data["raw_proprio"], key)
    np.testing.assert_allclose(proprio, data["normalized_proprio"], atol=1e-6)
    normalized = model.predict_actions(
        input_ids=data["input_ids"],
        pixel_values=data["pixel_values"],
        image_grid_thw=data["image_grid_thw"],
        proprio=proprio if setup == "libero" else None,
        noise=data["noise"],
        steps=steps,
        action_tokens_only=False,
    )
    assert normalized.shape == (chunk, 7)
    expected = data[objective if steps is None else f"{objective}_{steps}"]
    assert np.abs(model.unnormalize(normalized, key) - expected).max() < GOLDEN_TOLERANCE


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("objective", "steps", "action_dim", "chunk", "cameras", "proprio_dim"),
    [
        ("flow_matching", 3, 7, 4, 2, 8),
        ("flow_matching", 9, 14, 3, 1, None),
        ("diffusion", 4, 6, 5, 3, 7),
        ("l1_regression", None, 7, 12, 1, 8),
        ("discrete", None, 7, 5, 2, None),
        ("discrete_diffusion", 5, 3, 6, 2, 5),
    ],
)
def test_same_as_written_out(
    make_checkpoint,
    make_prompt,
    published_algorithm,
    shape,
    objective,
    steps,
    action_dim,
    chunk,
    cameras,
    proprio_dim,
):
    overrides = SHAPES[shape] | {"initializer_range": 0.06}
    folder = make_checkpoint(objective, action_dim, proprio_dim, **overrides)
    model = DreamVLAForActionPrediction.from_pretrained(folder, objective, chunk)
    grids = [(1, 6, 12), (1, 6, 6), (1, 12, 6)][:cameras]
    prompt = make_prompt(model.config, grids)
    rng = np.random.default_rng(1)
    state = (
        None if proprio_dim is None else torch.from_numpy(rng.uniform(-1, 1, proprio_dim).astype(np.float32))
    )
    noise = torch.from_numpy(rng.standard_normal((chunk, action_dim), dtype=np.float32))
    ours = model.predict_actions(**prompt, proprio=state, noise=noise, steps=steps, action_tokens_only=False)
    theirs = published_algorithm(model).predict_actions(**prompt, proprio=state, noise=noise, steps=steps)
    assert np.abs(ours - theirs.numpy()).max() < WRITTEN_OUT_TOLERANCE


@pytest.fixture(scope="module")
def models(make_checkpoint):
    return {o: DreamVLAForActionPrediction.from_pretrained(make_checkpoint(o.value), o) for o in Objective}


@pytest.fixture(scope="module")
def prompt(models, make_prompt):
    return make_prompt(models[Objective.DISCRETE].config)


@pytest.mark.parametrize("objective", [Objective.DISCRETE, Objective.DISCRETE_DIFFUSION])
@pytest.mark.parametrize("temperature", [0.0, 3.0])
def test_no_word_becomes_an_action(models, prompt, objective, temperature):
    """Words decode to the end of the range, so a chunk of words shows as one that is all +1 or -1."""
    model = models[objective]
    with torch.no_grad():
        model.lm_head.weight[:300] *= 30  # words win by far
    try:
        generator = torch.Generator().manual_seed(0)
        free = model.predict_actions(
            **prompt, action_tokens_only=False, temperature=temperature, generator=generator
        )
        bound = model.predict_actions(**prompt, temperature=temperature, generator=generator)
    finally:
        with torch.no_grad():
            model.lm_head.weight[:300] /= 30
    assert (np.abs(free) > 0.98).mean() > 0.9
    assert (np.abs(bound) > 0.98).mean() < 0.5
    assert np.isin(bound, model.action_tokens.centres.astype(np.float32)).all()


@pytest.mark.parametrize("objective", [Objective.DISCRETE, Objective.DISCRETE_DIFFUSION])
def test_only_action_tokens_changes_nothing_where_they_win_anyway(models, prompt, objective):
    model = models[objective]
    ids = [model.action_tokens.first_id + offset for offset in (10, 20, 30, 40)]
    first, second = torch.randn(2, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        kept = model.lm_head.weight.clone()
        model.lm_head.weight.zero_()
        # one of a vector and its opposite always scores above the zero of everything else
        model.lm_head.weight[ids] = torch.stack([first, -first, second, -second])
    try:
        free = model.predict_actions(**prompt, action_tokens_only=False, steps=1)
        bound = model.predict_actions(**prompt, steps=1)
    finally:
        with torch.no_grad():
            model.lm_head.weight.copy_(kept)
    np.testing.assert_array_equal(free, bound)
    assert np.isin(free, model.action_tokens.decode(ids).astype(np.float32)).all()


@pytest.mark.parametrize("steps", [1, 3, 9, 12])
def test_flow_takes_exactly_the_steps_asked_for(models, prompt, steps):
    model, calls = models[Objective.FLOW_MATCHING], []
    handle = model.model.norm.register_forward_hook(lambda *_: calls.append(1))
    vision = []
    seen = model.visual.register_forward_hook(lambda *_: vision.append(1))
    try:
        model.predict_actions(**prompt, steps=steps)
    finally:
        handle.remove()
        seen.remove()
    assert len(calls) == steps
    assert len(vision) == 1


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        ("flow_matching", 4),
        ("diffusion", 50),
        ("l1_regression", 1),
        ("discrete", 1),
        ("discrete_diffusion", 4),
    ],
)
def test_default_steps(models, prompt, objective, passes):
    model, calls = models[Objective(objective)], []
    handle = model.model.norm.register_forward_hook(lambda *_: calls.append(1))
    try:
        model.predict_actions(**prompt)
    finally:
        handle.remove()
    assert len(calls) == passes


def test_output_layer_scores_nothing_but_what_is_chosen_from(models, prompt, monkeypatch):
    rows = []
    for model in models.values():
        original = model.logits
        monkeypatch.setattr(
            model, "logits", lambda h, c=None, f=original: rows.append((h.shape[-2], len(c))) or f(h, c)
        )
        model.predict_actions(**prompt)
    assert rows[0] == (56, 64)  # discrete: action places x action tokens
    assert {columns for _, columns in rows[1:]} == {66}  # unmasking: with the two closing tokens
    assert rows[1][0] == 58
    assert [places for places, _ in rows[1:]] == sorted((p for p, _ in rows[1:]), reverse=True)


@pytest.mark.parametrize("objective", [Objective.FLOW_MATCHING, Objective.DIFFUSION])
def test_a_seed_repeats_and_another_differs(models, prompt, objective):
    def run(seed):
        return models[objective].predict_actions(**prompt, generator=torch.Generator().manual_seed(seed))

    np.testing.assert_array_equal(run(0), run(0))
    assert not np.array_equal(run(0), run(1))


@pytest.mark.parametrize("objective", [Objective.FLOW_MATCHING, Objective.DIFFUSION])
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_samples_are_averaged_over_noises_and_their_negatives(models, prompt, objective, samples):
    given = prompt | {"steps": 2, "proprio": np.linspace(-1, 1, 8)}
    found = models[objective].predict_actions(
        **given, samples=samples, generator=torch.Generator().manual_seed(3)
    )
    drawn = torch.randn(((samples + 1) // 2, 8, 7), generator=torch.Generator().manual_seed(3))
    noises = [sign * one for one in drawn for sign in (1, -1)][:samples]
    singles = [models[objective].predict_actions(**given, noise=noise) for noise in noises]
    np.testing.assert_allclose(found, np.mean(singles, axis=0), atol=1e-5)
    if samples > 1:
        assert np.ptp(singles, axis=0).max() > 0.1, "noise does not matter, so nothing is tested"


def test_objectives_without_noise_have_nothing_to_average(models, prompt):
    for objective in (Objective.L1_REGRESSION, Objective.DISCRETE, Objective.DISCRETE_DIFFUSION):
        one, four = (models[objective].predict_actions(**prompt, samples=samples) for samples in (1, 4))
        np.testing.assert_array_equal(one, four)


@pytest.mark.parametrize("objective", list(Objective))
def test_state_and_words_matter(models, prompt, objective):
    model = models[objective]
    noise = np.zeros((8, 7))

    def run(**change):
        return model.predict_actions(**(prompt | {"noise": noise, "steps": 2} | change))

    other = prompt["input_ids"].clone()
    other[0, -2] = 17
    with_state = run(proprio=np.full(8, 0.5))
    assert not np.array_equal(run(), with_state)
    assert not np.array_equal(with_state, run(proprio=np.full(8, -0.5)))
    assert not np.array_equal(run(), run(input_ids=other))
    assert not np.array_equal(run(), run(pixel_values=prompt["pixel_values"] + 1))


@pytest.mark.parametrize("objective", list(Objective))
def test_bfloat16_stays_close(make_checkpoint, prompt, models, objective):
    half = DreamVLAForActionPrediction.from_pretrained(
        make_checkpoint(objective.value, initializer_range=0.05), objective, dtype=torch.bfloat16
    )
    full = DreamVLAForActionPrediction.from_pretrained(
        make_checkpoint(objective.value, initializer_range=0.05), objective
    )
    noise = np.linspace(-1, 1, 56).reshape(8, 7)
    rough = half.predict_actions(**prompt, noise=noise, steps=2)
    exact = full.predict_actions(**prompt, noise=noise, steps=2)
    assert rough.dtype == np.float32
    assert np.isfinite(rough).all()
    if objective.continuous:
        assert np.median(np.abs(rough - exact)) < 0.03


def test_integration_stays_in_float32_under_bfloat16(make_checkpoint, prompt):
    model = DreamVLAForActionPrediction.from_pretrained(make_checkpoint(), dtype=torch.bfloat16)
    noise = np.full((8, 7), 1 + 2**-12, dtype=np.float32)  # bfloat16 would round this to 1
    with torch.no_grad():
        for parameter in model.action_head.fc2.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(model.predict_actions(**prompt, noise=noise), noise)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"noise": np.zeros((7, 8))}, "noise"),
        ({"noise": np.full((8, 7), np.nan)}, "finite"),
        ({"proprio": np.zeros(7)}, "proprio"),
        ({"proprio": np.full(8, np.inf)}, "finite"),
        ({"steps": 0}, "steps"),
        ({"steps": 1.5}, "steps"),
        ({"steps": True}, "steps"),
        ({"samples": 0}, "samples"),
        ({"samples": 2.0}, "samples"),
        ({"samples": True}, "samples"),
        ({"samples": 2, "noise": np.zeros((8, 7))}, "samples"),
    ],
)
def test_arguments_that_do_not_fit_are_named(models, prompt, change, words):
    with pytest.raises(ModelInputError, match=words):
        models[Objective.FLOW_MATCHING].predict_actions(**prompt, **change)


def test_state_without_its_projector_is_refused(make_checkpoint, prompt):
    model = DreamVLAForActionPrediction.from_pretrained(make_checkpoint(proprio_dim=None))
    with pytest.raises(ModelInputError, match="proprio_projector"):
        model.predict_actions(**prompt, proprio=np.zeros(8))


@pytest.mark.parametrize("chunk", [0, -1, 2.5, True])
def test_chunk_size_is_a_number_of_actions(make_checkpoint, chunk):
    with pytest.raises(ModelInputError, match="chunk_size"):
        DreamVLAForActionPrediction.from_pretrained(make_checkpoint(), chunk_size=chunk)


def test_chunk_size_of_the_folder_is_the_default(make_checkpoint):
    assert DreamVLAForActionPrediction.from_pretrained(make_checkpoint(chunk_size=3)).chunk_size == 3
    assert (
        DreamVLAForActionPrediction.from_pretrained(make_checkpoint(chunk_size=3), chunk_size=6).chunk_size
        == 6
    )


def test_words_without_images(models):
    ids = [[1, 2, 3]]
    actions = models[Objective.L1_REGRESSION].predict_actions(input_ids=ids)
    assert np.isfinite(actions).all()


def test_another_config_is_not_touched(models):
    config = models[Objective.DISCRETE].config
    assert replace(config, chunk_size=3) != config
