"""Look at a running graph from outside: which robot it is, what its nodes say and what its cameras send."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any

from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

from dream_vla_msgs.msg import ActiveGoal, ControllerState
from dream_vla_ros.nodes.conversions import NANOSECONDS, time_from_msg
from dream_vla_ros.nodes.spinning_node import NotReadyError, SpinningNode

# Both know the robot; either may be down.
_NODES_WITH_EMBODIMENT = ("controller", "policy")

# Topics of a node may be found a moment before its services.
_DISCOVERY_S = 1.0


@dataclass
class CameraSeen:
    """What came from one camera.

    :param name: Name in the robot's configuration, or the topic where nothing told it.
    :param times_s: When each image was sent.
    :param age_s: Age of the last image when it came.
    :param description: Size and encoding of the last image.
    """

    name: str
    topic: str
    times_s: list[float] = field(default_factory=list)
    age_s: float = 0.0
    description: str = ""


class GraphProbe:
    """Subscribe to what tells the state of the robot; use it as a context manager.

    :param namespace: Namespace of the robot's nodes.
    :param ros_args: ROS arguments, for example remappings.
    """

    def __init__(self, *, namespace: str = "", ros_args: Sequence[str] = ()) -> None:
        self.active_goal: ActiveGoal | None = None
        self.controller_state: ControllerState | None = None
        self.lifecycle_state = ""
        self._cameras: list[CameraSeen] = []
        self._spinning = SpinningNode(
            f"dream_vla_status_{os.getpid()}", namespace=namespace, ros_args=ros_args
        )
        node = self._spinning.node
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        node.create_subscription(ActiveGoal, "active_goal", self._on_active_goal, latched)
        node.create_subscription(ControllerState, "controller_state", self._on_controller_state, 10)
        self._parameters = [
            node.create_client(GetParameters, f"{name}/get_parameters") for name in _NODES_WITH_EMBODIMENT
        ]
        self._get_state = node.create_client(GetState, "policy/get_state")
        self._spinning.start()

    def __enter__(self) -> GraphProbe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spinning.close()

    def find(self, timeout_s: float) -> None:
        """Wait until policy and controller were heard, or the time is over, then subscribe to the cameras.

        :param timeout_s: Longest time to wait.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and (self.active_goal is None or self.controller_state is None):
            time.sleep(0.02)
        self.lifecycle_state = self._lifecycle()
        for name, topic, compressed in self._cameras_of_robot() or self._cameras_of_graph():
            seen = CameraSeen(name, topic)
            self._cameras.append(seen)
            self._spinning.call(partial(self._watch, seen, compressed))

    def hear_cameras(self, timeout_s: float) -> None:
        """Wait until every camera has sent something, or the time is over.

        :param timeout_s: Longest time to wait.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not all(seen.times_s for seen in self._cameras):
            time.sleep(0.02)

    def cameras(self) -> list[CameraSeen]:
        """Return what came from each camera so far."""
        return list(self._cameras)

    def complete(self) -> bool:
        """Tell whether policy, controller and every camera were heard."""
        nodes = self.active_goal is not None and self.controller_state is not None
        return nodes and bool(self._cameras) and all(seen.times_s for seen in self._cameras)

    def _cameras_of_robot(self) -> list[tuple[str, str, bool]]:
        for client in self._parameters:
            if not client.service_is_ready():
                continue
            try:
                names = self._get(client, ["cameras.names"])[0].string_array_value
                wanted = [f"cameras.{name}.{key}" for name in names for key in ("topic", "transport")]
                values = [value.string_value for value in self._get(client, wanted)]
            except (NotReadyError, IndexError):
                continue
            resolve = self._spinning.node.resolve_topic_name
            return [
                (name, resolve(values[2 * index]), values[2 * index + 1] == "compressed")
                for index, name in enumerate(names)
            ]
        return []

    def _cameras_of_graph(self) -> list[tuple[str, str, bool]]:
        found = self._spinning.node.get_topic_names_and_types()
        return [(topic, topic, False) for topic, types in found if "sensor_msgs/msg/Image" in types]

    def _get(self, client: Any, names: list[str]) -> Any:
        request = GetParameters.Request(names=names)
        return self._spinning.call_service(client, request, 2.0, owner="parameters of the robot").values

    def _lifecycle(self) -> str:
        deadline = time.monotonic() + _DISCOVERY_S
        while not self._get_state.service_is_ready():
            if time.monotonic() >= deadline:
                return ""
            time.sleep(0.02)
        try:
            response = self._spinning.call_service(self._get_state, GetState.Request(), 2.0, owner="policy")
        except NotReadyError:
            return ""
        return response.current_state.label

    def _watch(self, seen: CameraSeen, compressed: bool) -> None:
        clock = self._spinning.node.get_clock()

        def on_image(message: Any, info: dict[str, int]) -> None:
            seen.times_s.append(info["source_timestamp"] / NANOSECONDS)
            seen.age_s = (clock.now().nanoseconds - time_from_msg(message.header.stamp)) / NANOSECONDS
            if compressed:
                seen.description = message.format
            else:
                seen.description = f"{message.width} x {message.height} {message.encoding}"

        # rclpy passes the message's information to a callback that takes two; its annotations know of one.
        callback: Any = on_image
        kind = CompressedImage if compressed else Image
        self._spinning.node.create_subscription(kind, seen.topic, callback, qos_profile_sensor_data)

    def _on_active_goal(self, message: ActiveGoal) -> None:
        self.active_goal = message

    def _on_controller_state(self, message: ControllerState) -> None:
        self.controller_state = message
