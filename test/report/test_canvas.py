"""Tests of drawing primitives."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.report.canvas import Canvas, fit, shorten, text_width

RED = (255, 0, 0)


def coloured(canvas, colour=RED):
    """Return where (rows, columns) the canvas shows a colour."""
    return np.argwhere((canvas.pixels == colour).all(axis=2))


def test_arrow_leads_from_start_to_end_with_a_wider_head():
    canvas = Canvas(200, 100)
    canvas.arrow((20, 50), (180, 50), RED, 6.0)
    rows, columns = coloured(canvas).T
    assert 16 <= columns.min() <= 22
    assert 176 <= columns.max() <= 182
    shaft = rows[columns == 60]
    head = rows[columns == 162]
    assert np.ptp(head) > np.ptp(shaft) >= 4
    assert abs(rows.mean() - 50) < 1.0


@pytest.mark.parametrize("end", [(20, 50), (21, 50), (np.nan, 3.0)])
def test_no_arrow_for_no_motion(end):
    canvas = Canvas(100, 100)
    canvas.arrow((20, 50), end, RED, 6.0)
    assert not canvas.pixels.any()


def test_lines_are_interrupted_where_a_point_is_unknown():
    canvas = Canvas(100, 20)
    canvas.line([(5, 10), (30, 10), (np.nan, np.nan), (60, 10), (90, 10)], RED, 3.0)
    columns = coloured(canvas)[:, 1]
    assert columns.min() <= 6
    assert columns.max() >= 89
    assert not ((columns > 33) & (columns < 57)).any()


def test_points_far_outside_do_no_harm():
    canvas = Canvas(50, 50)
    canvas.line([(25, 25), (1e12, -1e12)], RED, 2.0)
    canvas.disc((-1e9, 1e9), 5.0, RED)
    assert coloured(canvas).size


def test_text_stands_where_it_is_put():
    canvas = Canvas(200, 60)
    width = canvas.text("dream", 10, 30, 24, (255, 255, 255))
    rows, columns = np.argwhere(canvas.pixels[..., 0] > 128).T
    assert 10 <= columns.min() < 16
    assert columns.max() < 10 + width
    assert abs((rows.min() + rows.max()) / 2 - 30) < 6
    assert text_width("dream", 24) == width


def test_text_may_hang_over_the_edge():
    canvas = Canvas(30, 10)
    canvas.text("a long text on a small canvas", -40, 0, 24, (255, 255, 255))
    canvas.text("far away", 500, 500, 24, (255, 255, 255))
    assert canvas.pixels.shape == (10, 30, 3)


def test_long_text_is_cut_with_an_ellipsis():
    text = "put the red block on the blue one"
    cut = shorten(text, 20, 200)
    assert cut.endswith("…")
    assert text.startswith(cut[:-1])
    assert text_width(cut, 20) <= 200
    assert shorten("short", 20, 200) == "short"


def test_fit_gives_the_size_asked_for():
    image = np.full((10, 20, 3), 77, dtype=np.uint8)
    for size in ((40, 30), (5, 4)):
        resized = fit(image, *size)
        assert resized.shape == (size[1], size[0], 3)
        assert (resized == 77).all()
