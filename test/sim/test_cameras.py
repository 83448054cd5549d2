import numpy as np
import pytest

from dream_vla_ros.sim.cameras import CAMERAS, intrinsics, look_at
from dream_vla_ros.sim.simulation import TabletopSim
from dream_vla_ros.sim.tasks import task_from_instruction

SIZE = (240, 320)


@pytest.fixture(scope="module")
def sim():
    made = TabletopSim(image_size=SIZE)
    yield made
    made.close()


def blob(image, colour):
    """Middle of the pixels of one block's colour, as (u, v); None where there are none."""
    shares = image.astype(float) / (image.sum(axis=2, keepdims=True) + 1.0)
    channel = {"red": 0, "green": 1, "blue": 2}[colour]
    rows, columns = np.nonzero((shares[..., channel] > 0.6) & (image[..., channel] > 60))
    return (columns.mean(), rows.mean()) if len(rows) >= 20 else None


def project(sim, camera, point):
    in_camera = sim.camera_pose(camera).inverse()
    x, y, z = in_camera.rotation @ point + in_camera.position
    u, v, w = sim.camera_intrinsics(camera) @ [x, y, z]
    return np.array([u / w, v / w]), z


@pytest.mark.parametrize("camera", CAMERAS)
def test_blocks_appear_where_intrinsics_and_pose_say(sim, camera):
    seen = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sim.reset(task_from_instruction("lift the red block").draw_layout(4, rng), rng)
        image = sim.render(camera)
        for colour in ("red", "green", "blue"):
            (u, v), depth = project(sim, camera, sim.block_poses()[colour].position)
            found = blob(image, colour)
            # The middle of the visible faces lies within half a block of the projected centre.
            radius = 0.02 * sim.camera_intrinsics(camera)[0, 0] / depth
            inside = radius < u < SIZE[1] - radius and radius < v < SIZE[0] - radius
            if found is None or not inside or depth < 0.05:
                continue
            seen += 1
            assert np.hypot(found[0] - u, found[1] - v) < radius, (seed, colour)
    assert seen >= 8, "hardly any block was in view"


def test_every_block_is_large_enough_in_the_third_person_image_of_the_training_size():
    sim = TabletopSim(image_size=(112, 112))
    sizes = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sim.reset(task_from_instruction("lift the red block").draw_layout(4, rng), rng)
        image = sim.render("third_person").astype(float)
        shares = image / (image.sum(axis=2, keepdims=True) + 1.0)
        sizes += [(shares[..., channel] > 0.6).sum() for channel in range(3)]
    sim.close()
    # A 40 mm block spans about 10 pixels; some stand behind the arm.
    assert np.median(sizes) > 50
    assert np.mean(np.array(sizes) > 15) > 0.9


def test_the_robots_left_is_left_in_the_third_person_image(sim):
    rng = np.random.default_rng(0)
    sim.reset(task_from_instruction("lift the red block").draw_layout(4, rng), rng)
    left, _ = project(sim, "third_person", np.array([0.28, 0.1, 0.02]))
    right, _ = project(sim, "third_person", np.array([0.28, -0.1, 0.02]))
    assert left[0] < right[0]


def test_intrinsics_follow_the_field_of_view():
    matrix = intrinsics(90.0, (100, 200))
    assert np.allclose(matrix, [[50, 0, 99.5], [0, 50, 49.5], [0, 0, 1]])


def test_look_at_keeps_the_vertical_upright():
    rotation = look_at([1.0, 2.0, 3.0], [0.0, 0.0, 0.5])
    assert np.allclose(rotation @ rotation.T, np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert rotation[2, 0] == pytest.approx(0.0)
    assert rotation[2, 1] > 0.0
    assert np.allclose(rotation[:, 2] * np.linalg.norm([1, 2, 2.5]), [1, 2, 2.5])


def test_an_unknown_camera_is_named(sim):
    with pytest.raises(ValueError, match="no camera 'overhead'; there are third_person, wrist"):
        sim.render("overhead")
