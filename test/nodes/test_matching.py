"""Subscriptions hear whatever is offered, and say when it is less than they asked for."""

from __future__ import annotations

import pytest
from ros_graph import BEST_EFFORT, LATCHED, RELIABLE, Graph
from std_msgs.msg import String

from dream_vla_ros.nodes.matching import LATCHED as ASK_LATCHED
from dream_vla_ros.nodes.matching import SENSOR, MatchingSubscription

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(
    "offered", [RELIABLE, BEST_EFFORT, LATCHED], ids=["reliable", "best_effort", "latched"]
)
@pytest.mark.parametrize("asked", [SENSOR, ASK_LATCHED], ids=["sensor", "latched"])
def test_every_offer_is_heard(graph: Graph, capfd, offered, asked):
    heard: list[str] = []
    MatchingSubscription(graph.node, String, "words", lambda msg: heard.append(msg.data), asked)
    publisher = graph.publisher(String, "words", offered)

    def told() -> bool:
        publisher.publish(String(data="hello"))
        return bool(heard)

    graph.wait(told)
    warned = "is offered with less" in capfd.readouterr().err
    assert warned == (asked is ASK_LATCHED and offered is not LATCHED)


def test_what_was_published_before_is_heard_where_it_is_kept(graph: Graph):
    publisher = graph.publisher(String, "words", LATCHED)
    publisher.publish(String(data="before"))
    heard: list[str] = []
    MatchingSubscription(graph.node, String, "words", lambda msg: heard.append(msg.data), ASK_LATCHED)
    graph.wait(lambda: heard == ["before"])
