"""Rates say no more than was seen."""

from __future__ import annotations

import pytest

from dream_vla_ros.training.rates import Rate, count, rates

RECORDS = [
    {"kind": "pick", "success": True, "settled": True},
    {"kind": "push", "success": False, "settled": True},
    {"kind": "pick", "success": False, "settled": False},
]


@pytest.mark.parametrize(
    ("rate", "low", "high"),
    # Wilson's interval as tabulated elsewhere.
    [(Rate(0, 10), 0.0, 0.2775), (Rate(10, 10), 0.7225, 1.0), (Rate(81, 263), 0.2553, 0.3662)],
)
def test_intervals_are_wilsons(rate, low, high):
    assert rate.interval == pytest.approx((low, high), abs=1e-4)


def test_no_tries_say_nothing():
    assert Rate(0, 0).interval == (0.0, 1.0)


def test_records_are_counted_in_groups():
    assert rates(RECORDS) == {"pick": Rate(1, 2), "push": Rate(0, 1)}
    settled = count(RECORDS, lambda one: one["kind"], lambda one: one["settled"])
    assert settled == {"pick": Rate(1, 2), "push": Rate(1, 1)}
