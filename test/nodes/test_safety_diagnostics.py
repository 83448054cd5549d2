"""The safety layers as diagnostics."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from dream_vla_ros.control.tally import LEASH, LIMITS, STOP, LayerReport
from dream_vla_ros.nodes.controller.safety_diagnostics import layer_statuses, publisher_status


@pytest.mark.parametrize(
    ("name", "acted", "halting", "level"),
    [
        (LEASH, False, False, DiagnosticStatus.OK),
        (LEASH, True, False, DiagnosticStatus.WARN),
        (LIMITS, True, False, DiagnosticStatus.OK),
        (STOP, True, True, DiagnosticStatus.ERROR),
    ],
)
def test_how_bad_it_is(name, acted, halting, level):
    (status,) = layer_statuses([LayerReport(name, acted, halting, 3, "why")], "controller", "widowx")
    assert (status.level, status.name, status.hardware_id) == (level, f"controller: {name}", "widowx")
    assert status.message == ("why" if acted else "quiet")
    assert {value.key: value.value for value in status.values} == {"count": "3", "last": "why"}


@pytest.mark.parametrize(("count", "level"), [(1, DiagnosticStatus.OK), (2, DiagnosticStatus.WARN)])
def test_more_than_one_publisher_is_named(count, level):
    status = publisher_status({"/a": 1, "/b": count}, "controller", "widowx")
    assert status.level == level
    assert ("/b" in status.message) == (count > 1)
    assert "/a" not in status.message
