"""What each layer of the safety chain did, for diagnostics."""

from __future__ import annotations

from dataclasses import dataclass

from dream_vla_ros.control.command import Cause, Command, Reason


@dataclass(frozen=True)
class LayerReport:
    """One layer, as of now.

    :param acted: Whether it did something since the report before.
    :param halting: Whether it keeps the arm from moving, rather than shaping motion or refusing chunks.
    :param count: Chunks refused, or ticks shaped or halted, since the start.
    :param message: Its last words; empty if it never had any.
    """

    name: str
    acted: bool
    halting: bool
    count: int
    message: str


CHUNK = "chunk contents"
DEAD_MAN = "dead-man switch"
STOP = "emergency stop"
STATE_AGE = "state age"
CHUNK_AGE = "chunk age and order"
WORKSPACE = "workspace"
ORIENTATION = "orientation cone"
LEASH = "leash"
LIMITS = "motion limits"
GRIPPER = "gripper rules"
FAULT = "faults"

LAYERS = (
    CHUNK,
    DEAD_MAN,
    STOP,
    STATE_AGE,
    CHUNK_AGE,
    WORKSPACE,
    ORIENTATION,
    LEASH,
    LIMITS,
    GRIPPER,
    FAULT,
)
"""In the order in which they look at what is to be executed."""

_OF_CAUSE = {
    Cause.CHUNK_INVALID: CHUNK,
    Cause.DEAD_MAN: DEAD_MAN,
    Cause.EMERGENCY_STOP: STOP,
    Cause.STATE_STALE: STATE_AGE,
    Cause.STATE_INVALID: STATE_AGE,
    Cause.CHUNK_LATE: CHUNK_AGE,
    Cause.CHUNK_FUTURE: CHUNK_AGE,
    Cause.CHUNK_WRONG_GOAL: CHUNK_AGE,
    Cause.CHUNK_OUT_OF_ORDER: CHUNK_AGE,
    Cause.CLOCK_JUMP: CHUNK_AGE,
    Cause.ADAPTER: FAULT,
    Cause.FAULT: FAULT,
}
_HALTING = frozenset({DEAD_MAN, STOP, STATE_AGE, FAULT})


class SafetyTally:
    """Counts what the layers do; used by one thread at a time."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(LAYERS, 0)
        self._messages = dict.fromkeys(LAYERS, "")
        self._acted: set[str] = set()

    def refuse(self, reason: Reason) -> None:
        """Note that a chunk was refused, or that the arm was held because of a fault."""
        layer = _OF_CAUSE.get(reason.cause)
        if layer is not None:
            self._note(layer, reason.message)

    def tick(self, command: Command) -> None:
        """Note what shaped or halted one tick."""
        reason = command.reason
        layer = _OF_CAUSE.get(reason.cause)
        if layer in _HALTING and layer != FAULT:
            self._note(layer, reason.message)
        for shaped, name, words in (
            (command.workspace_limited, WORKSPACE, "motion out of the workspace was held back"),
            (command.orientation_limited, ORIENTATION, "a tilt out of the cone was held back"),
            (command.leash_limited, LEASH, "the arm did not follow its target"),
            (command.speed_limited, LIMITS, "motion was slowed to the speed limits"),
            (command.gripper_held_back, GRIPPER, "another gripper state is asked for, but not long enough"),
        ):
            if shaped:
                self._note(name, words)

    def reports(self) -> list[LayerReport]:
        """Return one report per layer, in order; what acted before this call counts as reported."""
        acted, self._acted = self._acted, set()
        return [
            LayerReport(name, name in acted, name in _HALTING, self._counts[name], self._messages[name])
            for name in LAYERS
        ]

    def _note(self, layer: str, message: str) -> None:
        self._counts[layer] += 1
        self._messages[layer] = message
        self._acted.add(layer)
