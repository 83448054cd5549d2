"""What an experienced eye would remark on in recordings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dream_vla_ros.data.view import CameraView, View
from dream_vla_ros.geometry import Array

# Below this mean change, in levels of 255, two images are the same one: sensor noise alone makes more.
_SAME_LEVELS = 0.05
_SAME_SHARE = 0.1
_DARK_LEVEL = 8.0
# Numbers that change less than this never change.
_CONSTANT = 1e-6
# Lags looked for; a camera that is later than this is not used for control.
_MOST_LAG_S = 1.0
# Motion of the arm and change of the image go together at least this well where anything can be said.
_LEAST_CORRELATION = 0.35
# The best lag must explain this much more than none.
_CLEARER = 0.05
_JITTER_SHARE = 0.2
_START_CLOSED_SHARE = 0.8
_IDLE_SHARE = 0.5


def warnings(views: Sequence[View]) -> list[str]:
    """Return one sentence for each thing that looks wrong."""
    found: list[str] = []
    if not views:
        return ["there is no episode to look at"]
    for view in views:
        for name, camera in view.cameras.items():
            found += [f"{view.name}: camera '{name}' {text}" for text in _camera(view, camera)]
        found += [f"{view.name}: {text}" for text in _numbers(view)]
    found += _constant(views)
    found += _lag(views)
    found += _polarity(views)
    return found


def best_lag(speed: Array, changes: Array, step_s: float) -> tuple[float, float, float]:
    """Find by how much the change of a camera's images comes after the motion of the arm.

    :param speed: (frames,) of the arm around each frame.
    :param changes: (frames,) of the image to the one before.
    :param step_s: Time between frames.
    :returns: Lag [s], its correlation, and the correlation without a lag.
    """
    most = max(1, min(len(speed) // 3, round(_MOST_LAG_S / step_s)))
    correlations = np.array([_correlation(speed, changes, lag) for lag in range(-most, most + 1)])
    best = int(np.argmax(correlations))
    return (best - most) * step_s, float(correlations[best]), float(correlations[most])


def _camera(view: View, camera: CameraView) -> Iterable[str]:
    if camera.damaged:
        yield f"has {camera.damaged} images that cannot be decoded"
    moving = view.speed > 0.25 * np.max(view.speed, initial=0.0)
    same = (camera.changes < _SAME_LEVELS)[1:] & moving[:-1]
    share = float(np.sum(same)) / max(1, int(np.sum(moving[:-1])))
    if share > _SAME_SHARE:
        yield f"shows the same image again in {share:.0%} of the frames in which the arm moves"
    if np.median(camera.brightness) < _DARK_LEVEL:
        yield f"is dark (mean level {np.median(camera.brightness):.0f} of 255)"
    steps = camera.intervals_s
    if len(steps) and np.std(steps) > _JITTER_SHARE * np.median(steps):
        yield (
            f"is uneven in time: {np.median(steps) * 1e3:.0f} ms between images, with a standard deviation "
            f"of {np.std(steps) * 1e3:.0f} ms and a longest gap of {np.max(steps) * 1e3:.0f} ms"
        )


def _numbers(view: View) -> Iterable[str]:
    if not np.isfinite(view.actions).all():
        yield "actions hold numbers that are not finite"
    if not view.instruction.strip():
        yield "the instruction is empty"
    still = float(np.mean(view.speed < 1e-3 * max(1.0, float(np.max(view.speed, initial=0.0)))))
    if still > _IDLE_SHARE:
        yield f"the arm stands still in {still:.0%} of the frames"
    if len(view.speed) > 3:
        typical = float(np.percentile(view.speed, 95))
        if typical > 0.0 and float(np.max(view.speed)) > 5.0 * typical:
            frame = int(np.argmax(view.speed))
            yield f"frame {frame} moves {np.max(view.speed) / typical:.0f} times as fast as nearly all others"


def _constant(views: Sequence[View]) -> Iterable[str]:
    names = views[0].action_names
    actions = np.concatenate([view.actions for view in views if view.actions.shape[1] == len(names)])
    for column, name in enumerate(names):
        values = actions[:, column]
        if np.ptp(values) < _CONSTANT:
            yield f"action '{name}' is {values[0]:g} in every frame: nothing can be learnt of it"


def _lag(views: Sequence[View]) -> Iterable[str]:
    for name in views[0].cameras:
        lags, weights = [], []
        for view in views:
            if len(view) < 8 or name not in view.cameras:
                continue
            # The change at a frame comes of the motion before it.
            speed = np.concatenate([[0.0], view.speed[:-1]])
            lag, best, without = best_lag(speed, view.cameras[name].changes, view.period_s)
            if best > _LEAST_CORRELATION and best > without + _CLEARER:
                lags.append(lag)
            else:
                lags.append(0.0)
            weights.append(best)
        typical = float(np.median(lags)) if lags else 0.0
        if abs(typical) >= 0.99 * views[0].period_s:
            side = "behind" if typical > 0.0 else "ahead of"
            yield (
                f"camera '{name}' seems {abs(typical) * 1e3:.0f} ms {side} the arm's motion (correlation "
                f"{np.median(weights):.2f}): check its stamps, which should tell when the image was taken"
            )


def _polarity(views: Sequence[View]) -> Iterable[str]:
    agreement = [_gripper_agreement(view) for view in views]
    known = [value for value in agreement if value is not None]
    if known and np.mean(known) < -0.3:
        yield (
            "the gripper opens when told to close: its polarity looks inverted (parameters "
            "action.gripper_open and action.gripper_closed, or state.finger_open and state.finger_closed)"
        )
    elif not known:
        commands = [view.command for view in views if view.command is not None]
        used = [command for command in commands if np.ptp(command) > 0.2]
        if not used:
            return
        levels = np.concatenate(used)
        middle = (np.max(levels) + np.min(levels)) / 2.0
        share = float(np.mean([command[0] < middle for command in used]))
        if share > _START_CLOSED_SHARE:
            yield (
                f"{share:.0%} of the episodes begin with a closed gripper, if 1 is open: its polarity looks "
                "inverted"
            )


def _gripper_agreement(view: View) -> float | None:
    """Correlate what the gripper was told with where it went; None where it was not used."""
    if view.command is None or view.opening is None or len(view) < 4:
        return None
    if np.ptp(view.command) < 0.2 or np.ptp(view.opening) < 0.05:
        return None
    return _correlation(view.command, view.opening, 1)


def _correlation(first: Array, second: Array, lag: int) -> float:
    """Correlate two series, the second taken ``lag`` frames later."""
    if lag >= 0:
        first, second = first[: len(first) - lag], second[lag:]
    else:
        first, second = first[-lag:], second[:lag]
    if len(first) < 3 or np.ptp(first) < 1e-12 or np.ptp(second) < 1e-12:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
