"""Parameters of the policy node that every kind of policy has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from dream_vla_ros.parameters import ParameterError, ParameterSpec, check, param, specs


@dataclass(frozen=True)
class PolicyParameters:
    """How goals are carried out; changes take effect with the next goal."""

    autostart: bool = param(True, "Whether the node configures and activates itself when it starts.")
    default_time_limit: float = param(
        60.0,
        "Time limit of a goal that names none [s].",
        minimum=0.1,
        maximum=86400.0,
        read_only=False,
    )
    execute_steps: int = param(
        0,
        "Steps of a chunk to execute before the next is predicted, if latency allows; 0 takes half of them.",
        minimum=0,
        maximum=256,
        read_only=False,
    )
    max_inference_rate: float = param(
        10.0, "Most predictions per second [Hz].", minimum=0.01, maximum=1000.0, read_only=False
    )
    success_period: float = param(
        2.0,
        "Time between two askings of a goal's success question [s].",
        minimum=0.1,
        maximum=600.0,
        read_only=False,
    )
    success_count: int = param(
        2,
        "How many times in a row the success question must be answered yes.",
        minimum=1,
        maximum=100,
        read_only=False,
    )


class ParameterGuard:
    """Refuses values that are out of range or of the wrong type when someone sets them, with the reason.

    :param node: Node whose parameters are guarded.
    """

    def __init__(self, node: Node) -> None:
        self._specs: dict[str, ParameterSpec] = {}
        node.add_on_set_parameters_callback(self._check)

    def guard(self, cls: type, prefix: str = "") -> None:
        """Guard the parameters of a dataclass.

        :param prefix: Put before each name, with its dot.
        """
        self._specs.update({spec.name: spec for spec in specs(cls, prefix)})

    def _check(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            spec = self._specs.get(parameter.name)
            if spec is None or parameter.value is None:
                continue
            try:
                check(spec, parameter.value)
            except ParameterError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)
