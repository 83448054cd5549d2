"""Variants are trained on the same data with the same budget."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from dream_vla_ros.model import DreamVLAForActionPrediction
from dream_vla_ros.model.objective import Objective
from dream_vla_ros.training.comparison import (
    CHUNKS,
    COMPARISONS,
    LONGEST_CHUNK,
    Budget,
    Comparison,
    Variant,
    comparison_table,
    run_variants,
)
from dream_vla_ros.training.learners import ActionLearner
from dream_vla_ros.training.metrics import read_metrics

pytestmark = pytest.mark.timeout(600)

BUDGET = Budget(episodes=1, alignment_steps=2, action_steps=1, batch_size=2, tries=1)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    made = Comparison(tmp_path_factory.mktemp("comparison"), BUDGET)
    made.prepare()
    return made


def test_the_papers_questions_are_asked():
    assert {one.objective for one in COMPARISONS["objectives"]} == set(Objective)
    assert [one.chunk for one in COMPARISONS["chunks"]] == list(CHUNKS)
    assert max(CHUNKS) == LONGEST_CHUNK
    assert [one.aligned for one in COMPARISONS["alignment"]] == [True, False]
    names = [one.name for variants in COMPARISONS.values() for one in variants]
    assert len(set(names)) == len(Objective) + len(CHUNKS) + 2 - 2  # the usual variant is in all three


@pytest.mark.parametrize(
    ("variant", "steps"),
    [
        (Variant(Objective.L1_REGRESSION, chunk=2), 1),
        (Variant(Objective.DISCRETE_DIFFUSION, chunk=1, aligned=False), 3),
    ],
)
def test_a_variant_is_trained_and_published(comparison, variant, steps):
    taken, folder = comparison.train(variant)
    assert taken == steps
    model = DreamVLAForActionPrediction.from_pretrained(folder, variant.objective.value)
    assert model.chunk_size == variant.chunk
    assert comparison.robot(variant.chunk).action.chunk_size == variant.chunk
    assert [entry["step"] for entry in read_metrics(folder.parent)] == list(range(1, steps + 1))


def test_results_are_set_side_by_side():
    rates = {"pick": "3/4 = 75%", "stack": "0/4 = 0%", "push": "1/4 = 25%"}
    found = {"variant": Variant().name, "steps": 7, "action_loss": 0.25, "rates": rates}
    last = comparison_table([found]).splitlines()[-1]
    assert last.split()[:3] == ["flow_matching-chunk8", "7", "0.2500"]
    assert all(text in last for text in rates.values())


def test_variants_are_run_once_each_and_read_again(comparison, capsys):
    variant = Variant(Objective.L1_REGRESSION, chunk=12)
    chosen = {"objectives": [variant], "chunks": [variant]}
    done = run_variants(comparison._folder, BUDGET, chosen, processes=2)
    assert done["objectives"] == done["chunks"]
    (result,) = done["chunks"]
    assert result["variant"] == variant.name
    assert result["tries"] == 1
    assert "chunks\n" in capsys.readouterr().out
    assert (comparison._folder / "comparison.png").stat().st_size > 1000
    path = comparison._folder / variant.name / "result.json"
    path.write_text(json.dumps(result | {"steps": 77}), encoding="utf-8")
    assert comparison.run(variant)["steps"] == 77


def test_variants_begin_with_the_same_alignment(comparison):
    """What the alignment taught the backbone is there whatever head comes after it."""
    variant = Variant(Objective.DIFFUSION, chunk=1)
    model = comparison._model(variant)
    fresh = {name: tensor.clone() for name, tensor in model.named_parameters()}
    comparison._begin_from_alignment(ActionLearner(model, comparison._alignment(model)))
    changed = {name for name, tensor in model.named_parameters() if not torch.equal(tensor, fresh[name])}
    assert "model.layers.0.mlp.up_proj.weight" in changed
    assert not any(name.startswith(("action_head.", "noisy_action_projector.")) for name in changed)


def test_a_seed_gives_other_weights(comparison):
    other = Comparison(comparison._folder, replace(BUDGET, seed=1))
    other._store = comparison._store
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(
        comparison._model(Variant()).get_parameter(name), other._model(Variant()).get_parameter(name)
    )
