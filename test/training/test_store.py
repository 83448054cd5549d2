"""Samples on disk: what is written is read back, and nothing half-written is."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.store import Samples, SampleStore, has_shard, write_shard


def part(samples, begin, end):
    return Samples(
        samples.images[begin:end],
        samples.actions[begin:end],
        samples.proprio[begin:end],
        samples.instructions[begin:end],
        samples.episode[begin:end],
        {key: values[begin:end] for key, values in samples.labels.items()},
    )


def test_samples_come_back_across_shards_in_the_order_asked_for(tmp_path, samples):
    write_shard(tmp_path, "b", part(samples, 4, 6))
    write_shard(tmp_path, "a", part(samples, 0, 4))
    store = SampleStore(tmp_path)
    assert len(store) == 6
    wanted = [5, 0, 3, 3]
    taken = store.take(wanted)
    for name in ("images", "actions", "proprio", "episode"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(samples, name)[wanted])
    assert taken.instructions == [samples.instructions[at] for at in wanted]
    np.testing.assert_array_equal(taken.labels["blocks"], samples.labels["blocks"][wanted])
    np.testing.assert_array_equal(store.column("episode"), samples.episode)
    np.testing.assert_array_equal(store.column("blocks"), samples.labels["blocks"])
    assert store.instructions() == sorted(set(samples.instructions))


def test_samples_are_found_by_the_names_of_shards(tmp_path, samples):
    for name, begin, end in (("expert-0", 0, 2), ("own_1-0", 2, 3), ("own_2-0", 3, 6)):
        write_shard(tmp_path, name, part(samples, begin, end))
    store = SampleStore(tmp_path)
    assert store.numbers("own_").tolist() == [2, 3, 4, 5]
    assert store.numbers("expert").tolist() == [0, 1]
    assert store.numbers("tower").tolist() == []


def test_a_shard_cut_short_does_not_count(tmp_path, samples):
    write_shard(tmp_path, "whole", samples)
    partial = tmp_path / ".other.77"
    (tmp_path / "whole").rename(partial)
    assert not has_shard(tmp_path, "whole")
    with pytest.raises(TrainingError, match="holds no samples"):
        SampleStore(tmp_path)


def test_a_damaged_shard_is_named(tmp_path, samples):
    folder = write_shard(tmp_path, "a", samples)
    (folder / "actions.npy").write_bytes(b"no array")
    with pytest.raises(TrainingError, match=str(folder)):
        SampleStore(tmp_path)


def test_shards_of_other_shapes_do_not_mix(tmp_path, samples):
    write_shard(tmp_path, "a", samples)
    shorter = Samples(
        samples.images, samples.actions[:, :5], samples.proprio, samples.instructions, samples.episode,
        samples.labels,
    )  # fmt: skip
    write_shard(tmp_path, "b", shorter)
    with pytest.raises(TrainingError, match="differ"):
        SampleStore(tmp_path)


def test_columns_must_be_of_one_length(samples):
    with pytest.raises(TrainingError, match="5 actions, but 6 images"):
        Samples(samples.images, samples.actions[:5], samples.proprio, samples.instructions, samples.episode)


@pytest.mark.parametrize("index", [-1, 6])
def test_numbers_out_of_range_are_refused(tmp_path, samples, index):
    write_shard(tmp_path, "a", samples)
    with pytest.raises(IndexError):
        SampleStore(tmp_path).take([index])
