"""Tests of a node with a context and a thread of its own."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2; source a distribution or run `make setup`")

import rclpy
from ros_graph import wait_until
from std_msgs.msg import String
from std_srvs.srv import Trigger

from dream_vla_ros.nodes.spinning_node import NotReadyError, SpinningNode

pytestmark = pytest.mark.ros


@pytest.fixture
def spinning(domain_id):
    made = SpinningNode("spinning")
    made.start()
    yield made
    made.close()


def test_calls_run_in_the_nodes_thread_and_give_their_value(spinning):
    assert spinning.call(lambda: threading.current_thread().name) == "spinning callbacks"
    assert threading.current_thread().name != "spinning callbacks"


def test_what_a_call_raises_comes_to_the_caller_and_does_no_harm(spinning):
    with pytest.raises(ZeroDivisionError):
        spinning.call(lambda: 1 / 0)
    assert spinning.call(lambda: 2) == 2


def test_a_callback_that_fails_does_not_deafen_the_node(spinning):
    heard = []

    def on_message(message):
        heard.append(message.data)
        if message.data == "bad":
            raise RuntimeError("in a callback")

    spinning.node.create_subscription(String, "words", on_message, 10)
    publisher = spinning.node.create_publisher(String, "words", 10)
    wait_until(lambda: publisher.get_subscription_count() > 0)
    for word in ("bad", "good"):
        publisher.publish(String(data=word))
    wait_until(lambda: heard == ["bad", "good"])
    assert spinning.alive


def test_services_answer_and_missing_ones_are_named_with_their_owner(spinning):
    def serve(_, response):
        response.success, response.message = True, "yes"
        return response

    spinning.node.create_service(Trigger, "there", serve)
    client = spinning.node.create_client(Trigger, "there")
    assert spinning.call_service(client, Trigger.Request(), 5.0, owner="x").message == "yes"
    missing = spinning.node.create_client(Trigger, "nowhere")
    with pytest.raises(NotReadyError, match=r"/nowhere.*start the baker"):
        spinning.call_service(missing, Trigger.Request(), 0.1, owner="start the baker")


def test_a_service_that_does_not_answer_is_an_error(spinning, domain_id):
    sleeper = SpinningNode("sleeper")
    asleep = threading.Event()

    def serve(_, response):
        asleep.wait(20.0)
        return response

    sleeper.node.create_service(Trigger, "slow", serve)
    sleeper.start()
    client = spinning.node.create_client(Trigger, "slow")
    wait_until(client.service_is_ready)
    began = time.monotonic()
    with pytest.raises(NotReadyError, match="does not answer"):
        spinning.call_service(client, Trigger.Request(), 0.2, owner="x")
    assert time.monotonic() - began < 5.0
    asleep.set()
    sleeper.close()


def test_it_leaves_other_users_of_rclpy_alone(domain_id):
    assert not rclpy.ok()
    with pytest.raises(Exception, match="name"):
        SpinningNode("not a name")
    made = SpinningNode("spinning", namespace="/left", ros_args=["-r", "words:=other"])
    made.start()
    assert made.node.resolve_topic_name("words") == "/left/other"
    assert not rclpy.ok()
    made.close()
    made.close()
    assert not made.alive
    with pytest.raises(RuntimeError, match="closed"):
        made.call(lambda: 1)
