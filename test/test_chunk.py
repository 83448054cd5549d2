import numpy as np
import pytest

from dream_vla_ros.chunk import ActionChunk, InvalidChunkError


def chunk(**changes):
    values = {
        "translation": np.full((4, 3), 0.01),
        "rotation": np.zeros((4, 3)),
        "gripper": np.ones(4),
        "period_s": 0.2,
        "stamp_ns": 1,
        "goal_id": bytes(16),
    }
    return ActionChunk(**(values | changes))


def test_knows_its_duration():
    assert len(chunk()) == 4
    assert chunk().duration_s == pytest.approx(0.8)


def test_keeps_its_own_copy():
    translation = np.zeros((4, 3))
    made = chunk(translation=translation)
    translation[:] = 7.0
    assert np.all(made.translation == 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"translation": np.zeros((0, 3)), "rotation": np.zeros((0, 3)), "gripper": np.zeros(0)}, "shape"),
        ({"translation": np.zeros((4, 2))}, r"translation has shape \(4, 2\)"),
        ({"translation": 0.0}, "translation has shape"),
        ({"gripper": np.zeros((4, 1))}, "gripper has shape"),
        ({"rotation": np.zeros((3, 3))}, "4 translations, 3 rotations"),
        (
            {"translation": np.array([[0, 0, 0], [0, np.nan, 0], [0, 0, 0], [0, 0, 0]])},
            "translation of step 1",
        ),
        ({"gripper": np.array([1, 1, 1, np.inf])}, "gripper of step 3"),
        ({"period_s": 0.0}, "period is 0.0 s"),
        ({"period_s": float("nan")}, "period is nan s"),
        ({"goal_id": b"short"}, "5 bytes"),
    ],
)
def test_refuses_what_must_not_be_executed(changes, message):
    with pytest.raises(InvalidChunkError, match=message):
        chunk(**changes)
