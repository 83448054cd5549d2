"""Unmasking on made-up logits."""

import pytest
import torch

from dream_vla_ros.model.errors import ModelInputError
from dream_vla_ros.model.sampling import ALGORITHMS, Unmasking, sample, unmask

MASK = 9
SHARP = torch.tensor([[8.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 5.0, 0], [0, 0, 0, 3.0]])


def run(how, logits=SHARP, **extra):
    history = []
    masks = torch.full((len(logits),), MASK)
    tokens = unmask(masks, lambda _, masked: logits[masked], MASK, how, history=history, **extra)
    return tokens.tolist(), [state.tolist() for state in history]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("steps", [1, 2, 4, 9])
def test_everything_is_unmasked_in_the_steps_given(algorithm, steps):
    tokens, history = run(Unmasking(steps, algorithm), generator=torch.Generator().manual_seed(0))
    assert tokens == [0, 1, 2, 3]
    assert len(history) == steps


@pytest.mark.parametrize("algorithm", ["maskgit_plus", "topk_margin", "entropy"])
def test_the_surest_places_come_first(algorithm):
    _, history = run(Unmasking(4, algorithm))
    assert history == [[MASK] * 4, [0, MASK, MASK, MASK], [0, MASK, 2, MASK], [0, 1, 2, 3]]


def test_known_tokens_are_kept():
    tokens = unmask(torch.tensor([7, MASK]), lambda _, m: SHARP[:2][m], MASK, Unmasking(2))
    assert tokens.tolist() == [7, 1]


def test_a_place_whose_best_token_is_the_mask_stays_masked():
    logits = torch.zeros(2, 10)
    logits[0, MASK] = 5
    logits[1, 3] = 5
    assert run(Unmasking(1), logits)[0] == [MASK, 3]


def test_columns_stand_for_candidates():
    tokens, _ = run(Unmasking(1), candidates=torch.tensor([40, 41, 42, 43]))
    assert tokens == [40, 41, 42, 43]


def test_margin_and_probability_disagree_where_they_should():
    close_race = torch.tensor([[3.0, 2.9, -9, -9, -9, -9], [1.0, 0.0, 0, 0, 0, 0]])
    probable, _ = sample(close_race, Unmasking(1, "maskgit_plus"))
    margin, _ = sample(close_race, Unmasking(1, "topk_margin"))
    assert probable[0] > probable[1]
    assert margin[0] < margin[1]


def test_temperature_draws_and_a_seed_repeats():
    flat = torch.zeros(64, 4)
    draws = [
        run(Unmasking(1, temperature=1.0), flat, generator=torch.Generator().manual_seed(seed))[0]
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert set(draws[0]) == {0, 1, 2, 3}


def test_top_p_and_top_k_rule_out_the_rest():
    logits = torch.tensor([[2.0, 1.9, -1.0, -1.1]]).expand(200, -1)
    for how in (Unmasking(1, temperature=1.0, top_k=2), Unmasking(1, temperature=1.0, top_p=0.8)):
        _, tokens = sample(logits, how, torch.Generator().manual_seed(0))
        assert set(tokens.tolist()) == {0, 1}


def test_drawn_places_follow_a_seed():
    how = Unmasking(8, alg_temp=1.0)
    one, two = (run(how, torch.randn(16, 4), generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert len(one[1]) == len(two[1]) == 8
    assert MASK not in one[0]


def test_ending_early_is_discouraged_at_first():
    logits = torch.tensor([[1.0, 0.9, -5, -5]])
    calm, _ = run(Unmasking(1, eos_penalty=0.0), logits, pad_id=0)
    eager, _ = run(Unmasking(1, eos_penalty=1.0), logits, pad_id=0)
    assert (calm, eager) == ([0], [1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": 1, "algorithm": "best"}, "maskgit_plus"),
        ({"steps": 1, "temperature": -1.0}, "temperature"),
        ({"steps": 1, "temperature": float("nan")}, "temperature"),
        ({"steps": 1, "top_p": 0.0}, "top_p"),
        ({"steps": 1, "top_k": 0}, "top_k"),
    ],
)
def test_nonsense_is_refused(arguments, words):
    with pytest.raises(ModelInputError, match=words):
        Unmasking(**arguments)


@pytest.mark.parametrize(("early", "passes"), [(False, 4), (True, 2)])
def test_nothing_behind_the_end_is_unmasked_after_an_early_stop(early, passes):
    """The surest place is the first, and it ends the text; a quarter of four places is none at first."""
    calls = []

    def logits_at(tokens, masked):
        calls.append(1)
        return SHARP[masked]

    masks = torch.full((4,), MASK)
    tokens = unmask(masks, logits_at, MASK, Unmasking(4, stop_early=early), pad_id=5, end_ids=(0,))
    assert tokens.tolist() == ([0, 5, 5, 5] if early else [0, 1, 2, 3])
    assert len(calls) == passes


def test_an_end_behind_masks_does_not_stop():
    masks = torch.full((4,), MASK)
    tokens = unmask(masks, lambda _, m: SHARP[m], MASK, Unmasking(4, stop_early=True), pad_id=5, end_ids=(3,))
    assert tokens.tolist() == [0, 1, 2, 3]
