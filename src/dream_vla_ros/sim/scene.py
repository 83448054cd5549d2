"""The MuJoCo model of the tabletop, made with mjSpec: arm, table, blocks, cameras and light.

The world frame is ``base_link``: origin under the arm, z = 0 is the table top.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from dream_vla_ros.geometry import Array
from dream_vla_ros.sim.arm import ARM_JOINTS, BASE_LINK, EE_JOINT, EE_LINK, FINGER_JOINTS, Joint, JointKind
from dream_vla_ros.sim.arm_shapes import LINK_SHAPES, TOUCH, box
from dream_vla_ros.sim.cameras import CAMERA_MOUNTS, CameraMount, look_at

BLOCK_SIZE_M = 0.04
MIN_BLOCKS = 2
MAX_BLOCKS = 5

# A grasped block stays still at 250 Hz; at 100 Hz it creeps out of the fingers.
PHYSICS_TIMESTEP_S = 0.004
TABLE_X_M = (-0.20, 0.70)
TABLE_Y_M = (-0.60, 0.60)
TABLE_RGBA = (0.66, 0.60, 0.53, 1.0)

_BLOCK_MASS_KG = 0.05
_TABLE_THICKNESS_M = 0.03
_TABLE_HEIGHT_M = 0.72
_FLOOR_RGBA = (0.42, 0.44, 0.46, 1.0)
_WOOD_FRICTION = (0.8, 0.01, 0.001)

# Critically damped servos of this stiffness trail a steadily moving target by 0.05 s: a good real arm.
_SERVO_STIFFNESS = 120.0
_ARMATURE = 0.05
_JOINT_DAMPING = 0.5
_FINGER_STIFFNESS = 900.0
_FINGER_SERVO_DAMPING = 40.0
_FINGER_ARMATURE = 0.05


def build_arm_spec(*, fingers: bool = True) -> mujoco.MjSpec:
    """Describe the arm alone.

    :param fingers: Whether the fingers move; without, the six arm joints are the only ones, as inverse
        kinematics needs it.
    """
    spec = mujoco.MjSpec()
    spec.modelname = "arm"
    option = spec.option
    option.timestep = PHYSICS_TIMESTEP_S
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # Elliptic cones with stiff friction: a grasped block creeps 0.5 mm a minute (at impratio 10, 5 mm).
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 100.0
    # After a numerical failure MuJoCo would silently start over; the simulation raises instead.
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    links = {BASE_LINK: spec.worldbody.add_body(name=BASE_LINK)}
    for joint in (*ARM_JOINTS, *FINGER_JOINTS):
        moves = fingers or joint.kind is JointKind.HINGE
        links[joint.child] = _add_link(links[joint.parent], joint, moves=moves)
    links[EE_JOINT.parent].add_site(name=EE_LINK, pos=EE_JOINT.origin, size=[0.004] * 3, group=4)
    for name, body in links.items():
        for shape in LINK_SHAPES[name]:
            body.add_geom(**shape)
    for joint in ARM_JOINTS:
        _add_servo(spec, joint.name, joint).set_to_position(kp=_SERVO_STIFFNESS, dampratio=1.0)
    if fingers:
        _add_gripper_servo(spec)
    return spec


def build_scene_spec(*, num_blocks: int, image_size: tuple[int, int], shadows: bool = False) -> mujoco.MjSpec:
    """Describe the whole tabletop.

    :param num_blocks: How many blocks lie on the table, 2 to 5; named ``block_0`` and so on.
    :param image_size: Largest height and width that will be rendered [pixels].
    :param shadows: Prepare smooth edges and shadows for pictures meant for people.
    :raises ValueError: If the number of blocks is out of range.
    """
    if not MIN_BLOCKS <= num_blocks <= MAX_BLOCKS:
        raise ValueError(f"num_blocks is {num_blocks}, not {MIN_BLOCKS} to {MAX_BLOCKS}")
    spec = build_arm_spec()
    spec.modelname = "tabletop"
    _add_surroundings(spec)
    for index in range(num_blocks):
        _add_block(spec, block_body(index))
    for name, mount in CAMERA_MOUNTS.items():
        _add_camera(spec.worldbody if mount.link is None else spec.body(mount.link), name, mount)
    visual = spec.visual
    visual.global_.offheight, visual.global_.offwidth = image_size
    # Without shadows and multisampling software rendering is forty times faster, and a third faster again
    # with round things made of few facets; pictures for people have it all.
    visual.quality.offsamples = 4 if shadows else 0
    visual.quality.shadowsize = 2048
    visual.quality.numslices = 32 if shadows else 14
    visual.quality.numquads = 4 if shadows else 1
    visual.map.shadowclip = 0.9
    visual.map.znear = 0.01
    spec.stat.extent = 1.0
    spec.stat.center = [0.25, 0.0, 0.1]
    visual.headlight.ambient = [0.45] * 3
    visual.headlight.diffuse = [0.25] * 3
    visual.headlight.specular = [0.0] * 3
    return spec


def block_body(index: int) -> str:
    """Name of a block's body, joint and geom in the model."""
    return f"block_{index}"


def _add_link(parent: mujoco.MjsBody, joint: Joint, *, moves: bool) -> mujoco.MjsBody:
    body = parent.add_body(name=joint.child, pos=joint.origin, gravcomp=1.0)
    if moves:
        hinge = joint.kind is JointKind.HINGE
        limits = (joint.lower, joint.upper)
        body.add_joint(
            name=joint.name,
            type=mujoco.mjtJoint.mjJNT_HINGE if hinge else mujoco.mjtJoint.mjJNT_SLIDE,
            axis=joint.axis,
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            range=np.degrees(limits) if hinge else limits,
            armature=_ARMATURE if hinge else _FINGER_ARMATURE,
            damping=_JOINT_DAMPING,
        )
    return body


def _add_servo(spec: mujoco.MjSpec, name: str, joint: Joint) -> mujoco.MjsActuator:
    return spec.add_actuator(
        name=name,
        target=joint.name,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        forcerange=[-joint.max_effort, joint.max_effort],
        forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        ctrlrange=[joint.lower, joint.upper],
        ctrllimited=mujoco.mjtLimited.mjLIMITED_TRUE,
    )


def _add_gripper_servo(spec: mujoco.MjSpec) -> None:
    left, right = FINGER_JOINTS
    _add_servo(spec, "gripper", left).set_to_position(kp=_FINGER_STIFFNESS, kv=_FINGER_SERVO_DAMPING)
    coupling = spec.add_equality(
        name="fingers_together",
        type=mujoco.mjtEq.mjEQ_JOINT,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        name1=right.name,
        name2=left.name,
        solref=[2.5 * PHYSICS_TIMESTEP_S, 1.0],
    )
    coupling.data[1] = 1.0
    spec.add_exclude(bodyname1=left.child, bodyname2=right.child)


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    table = box((TABLE_X_M[0], TABLE_Y_M[0], -_TABLE_THICKNESS_M), (TABLE_X_M[1], TABLE_Y_M[1], 0.0))
    world.add_geom(name="table", rgba=TABLE_RGBA, friction=_WOOD_FRICTION, **table, **TOUCH)
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        pos=[0, 0, -_TABLE_HEIGHT_M],
        size=[8.0, 8.0, 0.1],
        rgba=_FLOOR_RGBA,
        **TOUCH,
    )
    world.add_light(
        name="lamp",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.5, 0.6, 1.4],
        dir=[-0.2, -0.4, -1.0],
        diffuse=[0.6] * 3,
        specular=[0.15] * 3,
        castshadow=True,
    )


def _add_block(spec: mujoco.MjSpec, name: str) -> None:
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    half = BLOCK_SIZE_M / 2
    shape: dict[str, Any] = box((-half, -half, -half), (half, half, half))
    body.add_geom(name=name, mass=_BLOCK_MASS_KG, friction=_WOOD_FRICTION, **shape, **TOUCH)


def _add_camera(body: mujoco.MjsBody, name: str, mount: CameraMount) -> None:
    rotation: Array = look_at(mount.position, mount.target)
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, rotation.ravel())
    body.add_camera(name=name, pos=mount.position, quat=quaternion, fovy=mount.fovy_deg)
