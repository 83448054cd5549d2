"""The RViz configuration against what the nodes publish; RViz itself is not started."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from ros_graph import Graph

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).parents[2] / "config"
# Classes of rviz_default_plugins (Jazzy), and the messages that displays with a topic take.
DISPLAYS = {
    "Grid": None,
    "RobotModel": "std_msgs/msg/String",
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
    "Pose": "geometry_msgs/msg/PoseStamped",
    "Image": "sensor_msgs/msg/Image",
}
TOOLS = {"MoveCamera", "Measure"}
PANELS = {"Displays", "Views"}
PROPERTIES = {"Depth", "Durability Policy", "History Policy", "Reliability Policy", "Value"}
# Where a display has more than the common properties, those that it is given.
OWN_PROPERTIES = {
    "Grid": {"Cell Size", "Plane Cell Count", "Color"},
    "RobotModel": {"Description Source", "Description Topic", "Visual Enabled"},
    "MarkerArray": {"Topic"},
    "Pose": {"Topic", "Shape", "Axes Length", "Axes Radius"},
    "Image": {"Topic"},
}


def layout() -> dict:
    return yaml.safe_load((CONFIG / "rviz" / "dream_vla.rviz").read_text(encoding="utf-8"))


def kind_of(entry: dict, library: str = "rviz_default_plugins") -> str:
    package, _, name = entry["Class"].partition("/")
    assert package == library
    return name


def topics() -> dict[str, tuple[str, QoSProfile]]:
    """Return what the displays subscribe to: topic to message type and quality of service."""
    found = {}
    for display in layout()["Visualization Manager"]["Displays"]:
        topic = display.get("Topic") or display.get("Description Topic")
        if topic is not None:
            name = topic["Value"]
            assert not name.startswith("/"), "relative, so that a namespace reaches it"
            found[name] = (
                DISPLAYS[kind_of(display)],
                QoSProfile(
                    depth=topic["Depth"],
                    history=HistoryPolicy[topic["History Policy"].replace(" ", "_").upper()],
                    reliability=ReliabilityPolicy[topic["Reliability Policy"].replace(" ", "_").upper()],
                    durability=DurabilityPolicy[topic["Durability Policy"].replace(" ", "_").upper()],
                    liveliness=LivelinessPolicy.AUTOMATIC,
                ),
            )
    return found


def test_every_class_and_property_is_one_of_rviz():
    manager = layout()["Visualization Manager"]
    for display in manager["Displays"]:
        kind = kind_of(display)
        assert display.keys() - {"Class", "Name", "Enabled"} == OWN_PROPERTIES[kind], display["Name"]
        assert display["Enabled"] is True
        for topic in (display.get("Topic"), display.get("Description Topic")):
            assert topic is None or topic.keys() == PROPERTIES
    names = [display["Name"] for display in manager["Displays"]]
    assert len(set(names)) == len(names)
    assert {kind_of(tool) for tool in manager["Tools"]} == TOOLS
    assert {kind_of(panel, "rviz_common") for panel in layout()["Panels"]} == PANELS
    assert kind_of(manager["Views"]["Current"]) == "Orbit"


def test_every_topic_is_published_with_the_type_and_quality_that_its_display_takes(graph: Graph):
    for module in ("sim.node", "controller.node", "visualizer.node"):
        graph.start(f"dream_vla_ros.nodes.{module}", parameter_files=[CONFIG / "tabletop.yaml"])
    wanted = topics()
    assert len(wanted) == 5
    for name, (kind, asked) in wanted.items():
        (offer,) = graph.wait(
            lambda topic=f"{graph.namespace}/{name}": graph.node.get_publishers_info_by_topic(topic),
            60.0,
            f"a publisher of {name}",
        )
        assert offer.topic_type == kind, name
        verdict, why = qos_check_compatible(offer.qos_profile, asked)
        assert verdict == QoSCompatibility.OK, f"{name}: {why}"
