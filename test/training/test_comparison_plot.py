"""The picture of a comparison."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dream_vla_ros.training.comparison_plot import write_comparison


def result(variant, lift, push, tries=20):
    return {"variant": variant, "tries": tries, "successes": {"lift": lift, "push": push}}


@pytest.mark.parametrize("successes", [0, 20])
def test_successes_become_bars(tmp_path, successes):
    path = tmp_path / "comparison.png"
    write_comparison(
        path,
        {
            "objectives": [result("flow-chunk8", successes, successes), result("l1-chunk8", 10, 10)],
            "alignment": [result("flow-chunk8", successes, successes)],
        },
    )
    picture = cv2.imread(str(path))
    blue = np.array([0xB4, 0x77, 0x1F])  # of the first kind, as BGR
    share = (np.abs(picture.astype(int) - blue).max(axis=2) < 8).mean()
    assert picture.std() > 0
    assert (share > 0.05) == (successes == 20)
