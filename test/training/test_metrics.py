"""Metrics survive being cut short."""

from __future__ import annotations

import math

import pytest

from dream_vla_ros.training.metrics import METRICS, MetricsLog, read_metrics


def test_lines_after_the_resumed_step_are_written_anew(tmp_path):
    log = MetricsLog(tmp_path)
    for step in (1, 2, 3):
        log.write(step, {"loss": float(step)})
    log.close()
    again = MetricsLog(tmp_path, resume_step=2)
    again.write(3, {"loss": 30.0})
    again.close()
    assert [(entry["step"], entry["loss"]) for entry in read_metrics(tmp_path)] == [
        (1, 1.0),
        (2, 2.0),
        (3, 30.0),
    ]


def test_a_line_cut_short_is_dropped(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(1, {"loss": 1.0})
    log.close()
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 2, "lo')
    assert [entry["step"] for entry in read_metrics(tmp_path)] == [1]
    MetricsLog(tmp_path, resume_step=5).close()
    assert (tmp_path / METRICS).read_text() == '{"step": 1, "loss": 1.0}\n'


def test_what_is_no_number_is_null(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(1, {"loss": math.nan})
    log.close()
    assert read_metrics(tmp_path) == [{"step": 1, "loss": None}]


def test_tensorboard_gets_the_curves_where_it_is_installed(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = MetricsLog(tmp_path)
    for step in (1, 2):
        log.write(step, {"loss": 1.0 / step})
    log.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1.0), (2, 0.5)]
