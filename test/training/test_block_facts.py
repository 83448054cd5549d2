"""Facts about blocks: what the simulation says, and heads that read them where they are known."""

from __future__ import annotations

import numpy as np
import torch

from dream_vla_ros.planning.terms import Atom
from dream_vla_ros.sim.appearance import CLOSED_COLOURS
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.training.block_facts import FACTS, FactHeads, block_facts
from dream_vla_ros.training.store import Samples
from dream_vla_ros.training.table_scenes import tables_of

HAND = np.array([0.25, 0.03, 0.16])
PLACES = np.array([[0.30, 0.05, 0.02], [0.30, 0.05, 0.06], [0.25, 0.03, 0.155], [np.nan] * 3])
TRUE = {"ontable": (1, -1, -1), "clear": (-1, 1, 1), "holding": (-1, -1, 1)}


def sample():
    """A tower of two, a third block in the closed gripper, no fourth."""
    labels = np.full((1, len(CLOSED_COLOURS), 5), np.nan, dtype=np.float32)
    labels[0, :4, :3] = PLACES - HAND
    labels[0, :3, 3:] = 0.0
    proprio = np.zeros((1, 8), dtype=np.float32)
    proprio[0, :3] = HAND
    return Samples(
        images=np.zeros((1, 2, 28, 28, 3), np.uint8),
        actions=np.zeros((1, 8, 7), np.float32),
        proprio=proprio,
        instructions=["find"],
        episode=np.zeros(1, np.int64),
        labels={"blocks": labels},
    )


def test_facts_are_what_the_simulation_says():
    one = sample()
    (table,) = tables_of(one)
    state = symbols(table)
    assert Atom("on", (CLOSED_COLOURS[1], CLOSED_COLOURS[0])) in state
    facts = block_facts(one, state)
    assert facts.shape == (len(CLOSED_COLOURS), FACTS)
    np.testing.assert_allclose(facts[:3, :3] * [0.1, 0.1, 0.04], PLACES[:3], atol=1e-6)
    np.testing.assert_allclose(facts[:3, 3:6] * 0.1, PLACES[:3] - HAND, atol=1e-6)
    assert facts[:3, 6:9].T.tolist() == [list(values) for values in TRUE.values()]
    on, under = facts[:3, 9:13], facts[:3, 13:]
    assert (on == 1.0).nonzero()[0].tolist() == [1]
    assert on[1, 0] == 1.0  # the second lies on the first
    assert (under == 1.0).nonzero()[0].tolist() == [0]
    assert under[0, 1] == 1.0
    assert np.isnan(facts[3]).all()


def test_heads_learn_from_blocks_that_are_there_alone(processor):
    torch.manual_seed(0)
    heads = FactHeads(16, processor)
    ids = [processor.tokenizer.encode(f" {name}", add_special_tokens=False)[-1] for name in CLOSED_COLOURS]
    input_ids = torch.tensor([[715, 715, ids[0], ids[3], ids[1]]])  # two images of a token, three words
    facts = torch.full((1, len(CLOSED_COLOURS), FACTS), torch.nan)
    facts[0, :2] = torch.rand(2, FACTS)
    sight = torch.full((1, 2, len(CLOSED_COLOURS), 11), torch.nan)
    sight[0, 1, 0] = 0.5  # the second camera shows the first block
    states = torch.randn(1, 5, 16, requires_grad=True)
    words = heads.at_words(states, input_ids, facts)
    images = heads.at_images(states, input_ids, 715, facts, sight)
    (words["word_loss"] + images["image_loss"]).backward()
    reached = states.grad[0].abs().sum(-1) > 0
    assert reached.tolist() == [False, True, True, False, True]
    assert all(bool(value.isfinite()) for value in (words | images).values())
    nothing = heads.at_images(states, input_ids, 715, facts, torch.full_like(sight, torch.nan))
    assert float(nothing["image_loss"].detach()) == 0.0
