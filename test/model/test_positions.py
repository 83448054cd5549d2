"""Three-axis positions."""

import pytest
import torch

from dream_vla_ros.model.config import DreamConfig
from dream_vla_ros.model.errors import ModelInputError
from dream_vla_ros.model.positions import three_axis_positions


@pytest.fixture
def config(make_config):
    return DreamConfig.from_dict(make_config())


def row(*ids):
    return torch.tensor(ids)


def test_text_counts_on(config):
    assert three_axis_positions(row(1, 2, 3), [], config).tolist() == [[0, 1, 2]] * 3


def test_image_tokens_carry_row_and_column(config):
    places = three_axis_positions(row(1, 400, *[402] * 6, 401, 2), [(1, 4, 6)], config)
    assert places.tolist() == [
        [0, 1, 2, 2, 2, 2, 2, 2, 5, 6],
        [0, 1, 2, 2, 2, 3, 3, 3, 5, 6],
        [0, 1, 2, 3, 4, 2, 3, 4, 5, 6],
    ]


def test_video_tokens_carry_the_frame(config):
    places = three_axis_positions(row(9, *[403] * 4, 9), [(2, 2, 4)], config)
    assert places.tolist() == [[0, 1, 1, 2, 2, 3], [0, 1, 1, 1, 1, 3], [0, 1, 2, 1, 2, 3]]


def test_images_follow_each_other(config):
    places = three_axis_positions(row(402, 402, 7, 402, 7), [(1, 2, 4), (1, 2, 2)], config)
    assert places[2].tolist() == [0, 1, 2, 3, 4]
    assert places[1].tolist() == [0, 0, 2, 3, 4]


@pytest.mark.parametrize("ids", [(1, 2), (402, 1, 402), (402,)])
def test_places_that_do_not_fit_the_image_are_refused(config, ids):
    with pytest.raises(ModelInputError, match="grid"):
        three_axis_positions(row(*ids), [(1, 2, 4)], config)
