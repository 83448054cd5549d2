"""Tests for the remarks of an experienced eye."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dream_vla_ros.data.bag_episodes import BagRules
from dream_vla_ros.data.episode_metadata import EpisodeMetadata
from dream_vla_ros.data.errors import DataError
from dream_vla_ros.data.inspection import best_lag, warnings
from dream_vla_ros.data.plots import draw_all
from dream_vla_ros.data.view import CameraView, View, views

PERIOD_S = 0.1
FRAMES = 80


def good_view(seed: int = 0, lag: int = 0) -> View:
    """An arm that moves in fits and starts, and a camera whose images change as it moves."""
    random = np.random.default_rng(seed)
    speed = np.abs(np.convolve(random.normal(size=FRAMES + 4), np.ones(5) / 5, mode="valid")) * 0.2 + 0.01
    # The image at a frame has changed by the motion since the frame before.
    changes = np.concatenate([[0.0], speed[:-1]]) * 50.0 + 0.2
    changes = np.roll(changes, lag)
    actions = np.concatenate([random.normal(size=(FRAMES, 6)), np.ones((FRAMES, 1))], axis=1)
    command = np.where(np.arange(FRAMES) < 40, 1.0, 0.0)
    actions[:, 6] = command
    opening = np.clip(1.0 - (np.arange(FRAMES) - 40) / 5.0, 0.2, 1.0)
    times = np.arange(FRAMES) * PERIOD_S
    camera = CameraView(times, np.diff(times), changes, np.full(FRAMES, 100.0), ())
    names = ["dx", "dy", "dz", "rx", "ry", "rz", "gripper"]
    return View(
        name=f"good #{seed}",
        instruction="stack",
        period_s=PERIOD_S,
        actions=actions,
        action_names=names,
        state=np.zeros((FRAMES, 0)),
        state_names=[],
        speed=speed,
        command=command,
        opening=opening,
        stamps_s=times,
        cameras={"wrist": camera},
    )


def with_camera(view: View, **changes) -> View:
    return replace(view, cameras={"wrist": replace(view.cameras["wrist"], **changes)})


def test_good_recordings_pass_without_a_word():
    assert warnings([good_view(seed) for seed in range(4)]) == []


@pytest.mark.parametrize("lag", [-4, -1, 0, 1, 3, 7])
def test_a_cameras_lag_is_measured(lag):
    view = good_view(3, lag)
    found, best, _ = best_lag(
        np.concatenate([[0.0], view.speed[:-1]]), view.cameras["wrist"].changes, PERIOD_S
    )
    assert found == pytest.approx(lag * PERIOD_S)
    assert best > 0.9
    told = warnings([good_view(seed, lag) for seed in range(4)])
    if lag == 0:
        assert told == []
    else:
        side = "behind" if lag > 0 else "ahead of"
        assert any(f"{abs(lag) * 100} ms {side} the arm's motion" in text for text in told)


def test_repeated_images_are_noticed_only_while_the_arm_moves():
    view = good_view()
    changes = view.cameras["wrist"].changes.copy()
    changes[1::2] = 0.0
    assert any("same image again" in text for text in warnings([with_camera(view, changes=changes)]))
    still = replace(view, speed=np.where(np.arange(FRAMES) % 2 == 0, 0.001, view.speed))
    still = with_camera(still, changes=np.where(np.arange(FRAMES) % 2 == 1, 0.0, changes + 0.3))
    assert not any("same image again" in text for text in warnings([still]))


def test_constant_actions_are_named():
    view = good_view()
    actions = view.actions.copy()
    actions[:, 4] = 0.25
    told = warnings([replace(view, actions=actions), replace(view, actions=actions)])
    assert any("action 'ry' is 0.25 in every frame" in text for text in told)


def test_an_inverted_gripper_is_noticed():
    view = good_view()
    assert view.command is not None
    inverted = replace(view, command=1.0 - view.command)
    assert any("polarity looks inverted" in text for text in warnings([inverted] * 3))
    blind = replace(inverted, opening=None)
    told = warnings([blind] * 3)
    assert any("begin with a closed gripper" in text for text in told)
    assert not warnings([replace(view, opening=None)] * 3)


def test_dark_uneven_damaged_and_idle_recordings_are_noticed():
    view = good_view()
    camera = view.cameras["wrist"]
    uneven = camera.intervals_s.copy()
    uneven[::7] = 0.4
    cases = {
        "is dark": with_camera(view, brightness=np.full(FRAMES, 2.0)),
        "uneven in time": with_camera(view, intervals_s=uneven),
        "3 images that cannot be decoded": with_camera(view, damaged=3),
        "the instruction is empty": replace(view, instruction=" "),
        "stands still in": replace(view, speed=np.where(np.arange(FRAMES) < 60, 0.0, view.speed)),
        "times as fast as nearly all": replace(view, speed=np.where(np.arange(FRAMES) == 9, 9.0, view.speed)),
        "not finite": replace(view, actions=np.full_like(view.actions, np.nan)),
    }
    for words, bad in cases.items():
        assert any(words in text for text in warnings([bad])), words
    assert warnings([]) == ["there is no episode to look at"]


def test_a_bag_is_looked_at_at_its_cameras_rate_and_drawn(tmp_path, make_scene, own_writer, robot_file):
    scene = make_scene(size=(48, 64))
    bag = own_writer(tmp_path / "bag", scene.messages(), EpisodeMetadata(task="stack it", success=True))
    shown, notes = views(bag, robot_file, BagRules(), limit=3, thumbnails=5)
    (view,) = shown
    assert view.instruction == "stack it"
    assert view.period_s == pytest.approx(1 / 15)
    assert len(view) == 59
    camera = view.cameras["third_person"]
    assert len(camera.thumbnails) == 5
    assert len(camera.intervals_s) == 58
    assert any("next frame" in note for note in notes)
    # The arm of this recording moves evenly, and that is all there is to say of it.
    assert all("in every frame" in text for text in warnings(shown))
    paths = draw_all(shown, tmp_path / "pictures")
    assert [path.stem for path in paths] == ["contact_sheet", "series", "periods", "gripper"]
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("L"))
        assert pixels.std() > 5.0  # something is drawn
    again = draw_all(shown, tmp_path / "again")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


def test_a_late_camera_is_found_in_a_real_bag(tmp_path, make_scene, own_writer, robot_file, wobble):
    # 200 ms late: stamped when the image arrived, not when it was taken.
    scene = wobble(delay_s=0.2)
    bag = own_writer(tmp_path / "bag", scene, EpisodeMetadata(task="t", success=True))
    shown, _ = views(bag, robot_file, BagRules(), limit=1, thumbnails=2)
    told = [text for text in warnings(shown) if "behind the arm's motion" in text]
    assert len(told) == 2
    assert all("200 ms" in text for text in told)
    prompt = wobble(delay_s=0.0)
    bag = own_writer(tmp_path / "prompt", prompt, EpisodeMetadata(task="t", success=True))
    shown, _ = views(bag, robot_file, BagRules(), limit=1, thumbnails=2)
    assert not [text for text in warnings(shown) if "arm's motion" in text]


def test_a_bag_needs_a_robot(healthy_mcap, tmp_path):
    with pytest.raises(DataError, match="--robot"):
        views(healthy_mcap, None, BagRules(), limit=1, thumbnails=1)
    with pytest.raises(DataError, match="neither a bag nor a LeRobot dataset"):
        views(tmp_path, None, BagRules(), limit=1, thumbnails=1)
