"""Training losses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.model import DreamVLAForActionPrediction, ModelInputError
from dream_vla_ros.model import objectives as losses

GOLDEN_TOLERANCE = 1e-4
SETUPS = {"libero": 8, "bridge": 5}
OBJECTIVES = ("flow_matching", "diffusion", "l1_regression", "discrete", "discrete_diffusion")


def golden_model(golden, folder, setup, objective):
    heads = golden / "heads" / setup
    for part in (golden / "backbone", heads, heads / objective):
        for file in part.iterdir() if part.is_dir() else ():
            if file.is_file():
                (folder / file.name).symlink_to(file)
    return DreamVLAForActionPrediction.from_pretrained(folder, objective, SETUPS[setup])


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_same_as_published(golden, tmp_path, setup, objective):
    data = {k: torch.from_numpy(np.asarray(v)) for k, v in np.load(golden / f"vla_{setup}.npz").items()}
    model = golden_model(golden, tmp_path, setup, objective)
    batch = losses.TrainingBatch(
        data["train_input_ids"],
        data["train_labels"],
        data["train_actions"],
        data["train_pixel_values"],
        data["train_image_grid_thw"],
        data["train_proprio"] if setup == "libero" else None,
    )
    draws = {
        "flow_matching": {"noise": data["train_noise"], "time": data["train_time"]},
        "diffusion": {"noise": data["train_noise"], "timestep": data["train_ddim_timestep"]},
        "discrete_diffusion": {"mask_indices": data["train_mask_indices"], "p_mask": data["train_p_mask"]},
    }.get(objective, {})
    weightings = ("none", "original", "linear", "cart") if objective == "discrete_diffusion" else (None,)
    for weighting in weightings:
        chosen = {} if weighting is None else {"weighting": weighting}
        with torch.no_grad():
            loss = getattr(losses, f"loss_{objective}")(model, batch, **draws, **chosen)
        name = "_".join(["loss", objective, *chosen.values()])
        assert abs(float(loss) - float(data[name])) < GOLDEN_TOLERANCE, name


@pytest.fixture(scope="module")
def models(make_checkpoint):
    return {o: DreamVLAForActionPrediction.from_pretrained(make_checkpoint(o), o, 3) for o in OBJECTIVES}


def example(model, make_prompt, seed, words=0):
    """One training example; `words` makes its prompt longer."""
    prompt = make_prompt(model.config, [(1, 4, 4)], seed)
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (3, 7))
    tokens = torch.from_numpy(model.action_tokens.encode(actions.ravel()))
    answer = torch.cat([tokens, torch.tensor(model.config.tokens.closing)])
    ids = torch.cat([prompt["input_ids"][0], torch.arange(words), answer])
    labels = torch.full_like(ids, losses.IGNORED)
    labels[-len(answer) :] = answer
    return {
        "input_ids": ids,
        "labels": labels,
        "actions": torch.from_numpy(actions).float(),
        "pixel_values": prompt["pixel_values"],
        "image_grid_thw": prompt["image_grid_thw"],
        "proprio": torch.from_numpy(rng.uniform(-1, 1, 8)).float(),
    }


def collate(model, examples):
    def padded(name, value):
        rows = [e[name] for e in examples]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)

    lengths = torch.tensor([len(e["input_ids"]) for e in examples])
    ids = padded("input_ids", model.config.tokens.pad)
    key_mask = torch.arange(ids.shape[1]) < lengths[:, None]
    return losses.TrainingBatch(
        ids,
        padded("labels", losses.IGNORED),
        torch.stack([e["actions"] for e in examples]),
        torch.cat([e["pixel_values"] for e in examples]),
        torch.cat([e["image_grid_thw"] for e in examples]),
        torch.stack([e["proprio"] for e in examples]),
        None if key_mask.all() else key_mask,
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@torch.no_grad()
def test_padding_changes_nothing(models, make_prompt, objective):
    model = models[objective]
    rows = [example(model, make_prompt, 0), example(model, make_prompt, 1, words=9)]
    together = collate(model, rows)
    alone = [collate(model, [row]) for row in rows]
    draws = {}
    if objective in ("flow_matching", "diffusion"):
        draws = {"noise": torch.randn(2, 3, 7)}
        draws |= {"time": torch.tensor([0.3, 0.9])} if objective == "flow_matching" else {}
        draws |= {"timestep": torch.tensor([4, 40])} if objective == "diffusion" else {}
    if objective == "discrete_diffusion":
        draws = {"mask_indices": together.labels != losses.IGNORED, "p_mask": torch.tensor([1.0, 1.0])}
    loss = getattr(losses, f"loss_{objective}")
    parts = []
    for index, batch in enumerate(alone):
        own = {key: value[index : index + 1] for key, value in draws.items()}
        if "mask_indices" in own:
            own["mask_indices"] = own["mask_indices"][:, : batch.input_ids.shape[1]]
        parts.append(float(loss(model, batch, **own)))
    assert float(loss(model, together, **draws)) == pytest.approx(sum(parts) / 2, rel=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_part_learns(models, make_prompt, objective):
    model = models[objective]
    model.zero_grad()
    losses.training_loss(
        model, collate(model, [example(model, make_prompt, 0)]), generator=torch.Generator().manual_seed(0)
    ).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    untouched = "lm_head.weight" if model.objective.continuous else "none"
    assert [name for name in silent if not name.startswith(untouched)] == []


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_few_steps_lower_the_loss(make_checkpoint, make_prompt, objective):
    model = DreamVLAForActionPrediction.from_pretrained(make_checkpoint(objective), objective, 3)
    batch = collate(model, [example(model, make_prompt, seed) for seed in range(2)])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def loss():
        return losses.training_loss(
            model, batch, weighting="none", generator=torch.Generator().manual_seed(0)
        )

    before = loss().item()
    for _ in range(15):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.8 * before


@torch.no_grad()
def test_a_silent_head_is_wrong_by_all_of_the_target(make_checkpoint, make_prompt):
    model = DreamVLAForActionPrediction.from_pretrained(make_checkpoint(), "flow_matching", 3)
    for parameter in model.action_head.fc2.parameters():
        parameter.zero_()
    batch = collate(model, [example(model, make_prompt, 0)])
    noise = torch.randn(1, 3, 7)
    loss = losses.loss_flow_matching(model, batch, noise=noise, time=torch.tensor([0.5]))
    assert float(loss) == pytest.approx(float((batch.actions - noise).square().mean()), rel=1e-5)


@pytest.mark.parametrize(("weighting", "factor"), [("none", 1.0), ("original", 4.0), ("linear", 0.75)])
@torch.no_grad()
def test_a_model_that_knows_nothing_loses_the_log_of_the_vocabulary(
    make_checkpoint, make_prompt, weighting, factor
):
    model = DreamVLAForActionPrediction.from_pretrained(
        make_checkpoint("discrete_diffusion"), "discrete_diffusion", 3
    )
    model.lm_head.weight.zero_()
    batch = collate(model, [example(model, make_prompt, 0)])
    masks = batch.labels != losses.IGNORED
    loss = losses.loss_discrete_diffusion(
        model, batch, mask_indices=masks, p_mask=torch.tensor([0.25]), weighting=weighting
    )
    assert float(loss) == pytest.approx(factor * math.log(512), rel=1e-5)


def test_cart_weights_written_out():
    masked = torch.tensor([[False, False, True, False, True, True]])
    weights = losses.cart_weights(masked)[0]
    for place in (2, 4, 5):
        expected = sum(
            0.5 * 0.1 * 0.9 ** (abs(place - other) - 1)
            for other in range(1, 6)
            if other != place and not masked[0, other]
        )
        assert float(weights[place]) == pytest.approx(expected, rel=1e-5)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 64))
def test_draws_stay_in_range_and_repeat(seed, batch):
    def draw():
        generator = torch.Generator().manual_seed(seed)
        time = losses.draw_flow_time(batch, torch.device("cpu"), generator)
        masks, probability = losses.draw_masks(torch.ones(batch, 5, dtype=torch.bool), generator)
        return time, masks, probability

    time, masks, probability = draw()
    assert bool(((time > 0) & (time <= 1)).all())
    assert bool(((probability > 0) & (probability <= 1)).all())
    for a, b in zip((time, masks, probability), draw(), strict=True):
        assert torch.equal(a, b)


@torch.no_grad()
def test_a_share_of_the_examples_starts_from_pure_noise(models, make_prompt):
    model, noise = models["flow_matching"], torch.randn(8, 3, 7)
    batch = collate(model, [example(model, make_prompt, seed) for seed in range(8)])

    def loss(**how):
        generator = torch.Generator().manual_seed(4)
        return float(losses.loss_flow_matching(model, batch, noise=noise, generator=generator, **how))

    assert loss(start_share=0.0) == loss()
    assert loss(start_share=1.0) == pytest.approx(loss(time=torch.zeros(8)), rel=1e-6)
    assert len({loss(start_share=share) for share in (0.0, 0.5, 1.0)}) == 3
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ModelInputError, match="start_share"):
            loss(start_share=share)


def test_only_learned_places_are_masked():
    learned = torch.zeros(50, 8, dtype=torch.bool)
    learned[:, 5:] = True
    masks, _ = losses.draw_masks(learned, torch.Generator().manual_seed(0))
    assert not masks[:, :5].any()
    assert 0.3 < masks[:, 5:].float().mean() < 0.7


def test_another_number_of_action_tokens_is_refused(models, make_prompt):
    model = models["flow_matching"]
    row = example(model, make_prompt, 0)
    row["labels"][-5] = losses.IGNORED
    with pytest.raises(ModelInputError, match=r"\[20\].*21"):
        losses.training_loss(model, collate(model, [row]))


def test_an_unknown_weighting_is_refused(models, make_prompt):
    model = models["discrete_diffusion"]
    with pytest.raises(ModelInputError, match="cart"):
        losses.training_loss(model, collate(model, [example(model, make_prompt, 0)]), weighting="heavy")


def test_a_head_is_needed(models, make_prompt):
    model = models["discrete"]
    with pytest.raises(ModelInputError, match="action head"):
        losses.loss_l1_regression(model, collate(model, [example(model, make_prompt, 0)]))
