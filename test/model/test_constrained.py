"""Unmasking inside a language, with made-up scores and a constraint that knows its texts one by one."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.model import DreamVL, ModelInputError, Unmasking
from dream_vla_ros.model.constrained import OPEN, unmask_constrained
from dream_vla_ros.model.sampling import ALGORITHMS

MASK, PAD = 99, 10


class Listed:
    """A constraint whose texts are listed."""

    def __init__(self, texts):
        self.texts = np.array(sorted(texts))
        self.token_ids = np.unique(self.texts)
        self.commits = []

    def _fitting(self, ids):
        return self.texts[((ids == OPEN) | (self.texts == ids)).all(1)]

    def allowed_compact(self, ids):
        return (self._fitting(ids)[:, :, None] == self.token_ids).any(0)

    def commit(self, ids, places, tokens):
        ids, taken = ids.copy(), np.zeros(len(places), bool)
        for index, (place, token) in enumerate(zip(places, tokens, strict=True)):
            trial = ids.copy()
            trial[place] = token
            if ids[place] == OPEN and len(self._fitting(trial)):
                ids, taken[index] = trial, True
        self.commits.append(taken)
        return ids, taken


def even_texts(length):
    """All sequences of 10 and 20 with an even number of 20s: no place says anything by itself."""
    return [t for t in itertools.product((10, 20), repeat=length) if t.count(20) % 2 == 0]


def run(constraint, how, scores, seed=0, history=None):
    tokens = torch.full((scores.shape[0],), MASK)
    return unmask_constrained(
        tokens,
        lambda _, masked: scores[masked],
        MASK,
        how,
        constraint,
        pad_id=PAD,
        generator=torch.Generator().manual_seed(seed),
        history=history,
    ).tolist()


@given(
    algorithm=st.sampled_from(ALGORITHMS),
    length=st.integers(2, 7),
    steps=st.integers(1, 9),
    temperature=st.sampled_from([0.0, 0.2, 1.0, 3.0]),
    alg_temp=st.sampled_from([None, 0.5]),
    top_p=st.sampled_from([None, 0.7]),
    top_k=st.sampled_from([None, 1, 50]),
    eos_penalty=st.sampled_from([0.0, 2.0]),
    stop_early=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=150)
def test_the_result_is_always_in_the_language(algorithm, length, steps, seed, **options):
    constraint = Listed(even_texts(length))
    scores = torch.randn(length, 2, generator=torch.Generator().manual_seed(seed)) * 4
    history = []
    result = run(constraint, Unmasking(steps, algorithm, **options), scores, seed, history)
    assert result.count(20) % 2 == 0
    assert len(history) == steps
    assert history[-1].tolist() == result
    for before, after in itertools.pairwise(history):
        kept = before != MASK
        assert (after[kept] == before[kept]).all()


def test_tokens_fixed_at_once_are_checked_together():
    constraint = Listed(even_texts(3))
    # Each place by itself wants 20, which would be an odd number of them; the least sure gives way.
    scores = torch.tensor([[0.0, 5.0], [0.0, 1.0], [0.0, 3.0]])
    assert run(constraint, Unmasking(1), scores) == [20, 10, 20]
    assert not constraint.commits[0].all()


def test_without_conflict_it_is_what_the_scores_say():
    scores = torch.tensor([[0.0, 5.0], [1.0, 0.0], [0.0, 3.0]])
    for algorithm in ALGORITHMS:
        assert run(Listed(even_texts(3)), Unmasking(2, algorithm), scores) == [20, 10, 20]


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_broken_scores_still_give_a_text(broken):
    scores = torch.full((4, 2), broken)
    for temperature in (0.0, 1.0):
        assert run(Listed(even_texts(4)), Unmasking(2, temperature=temperature), scores).count(20) % 2 == 0


def test_tokens_known_before_are_kept():
    tokens = torch.tensor([20, MASK, 10])
    result = unmask_constrained(
        tokens, lambda _, m: torch.zeros(int(m.sum()), 2), MASK, Unmasking(1), Listed(even_texts(3))
    )
    assert result.tolist() == [20, 20, 10]


def test_a_length_without_a_text_is_refused():
    with pytest.raises(ModelInputError, match="max_new_tokens"):
        run(_Nothing(), Unmasking(1), torch.zeros(2, 2))


class _Nothing(Listed):
    def __init__(self):
        super().__init__([(10, 20)])

    def allowed_compact(self, ids):
        return np.zeros((len(ids), 2), bool)


def test_what_is_forced_needs_no_further_pass():
    calls = []

    def scores(_, masked):
        calls.append(int(masked.sum()))
        return torch.tensor([[9.0, 0.0]]).expand(int(masked.sum()), -1)

    texts = [(10,) * 8, (20,) * 8]
    for stop_early, most in ((False, 8), (True, 1)):
        calls.clear()
        how = Unmasking(8, stop_early=stop_early)
        result = unmask_constrained(torch.full((8,), MASK), scores, MASK, how, Listed(texts))
        assert result.tolist() == [10] * 8
        if stop_early:
            # The first steps of the schedule may fix nothing yet.
            assert len(calls) <= 3
        else:
            assert len(calls) == most


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_network_writes_what_the_constraint_says(make_checkpoint, make_prompt, algorithm):
    model = DreamVL.from_pretrained(make_checkpoint(model_type="dream-vl"))
    prompt = make_prompt(model.config)
    constraint = Listed(even_texts(6))
    ids = model.generate_ids(**prompt, max_new_tokens=6, steps=3, algorithm=algorithm, constraint=constraint)
    new = ids[0, prompt["input_ids"].shape[1] :].tolist()
    assert set(new) <= {10, 20}
    assert new.count(20) % 2 == 0


def test_the_constrained_scores_are_the_networks(make_checkpoint, make_prompt):
    model = DreamVL.from_pretrained(make_checkpoint(model_type="dream-vl"))
    prompt = make_prompt(model.config)
    everything = Listed(list(itertools.product((10, 20, 30), repeat=4)))
    ids = model.generate_ids(**prompt, max_new_tokens=4, steps=1, constraint=everything)
    free = model.mask_logits(**prompt, masks=4)[:, [10, 20, 30]].argmax(-1)
    assert ids[0, -4:].tolist() == [(10, 20, 30)[i] for i in free]
