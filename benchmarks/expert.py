"""How often the scripted expert solves each task, and how many episodes it records per second and core."""

from __future__ import annotations

import argparse
import time

import numpy as np

from dream_vla_ros.sim.cameras import CAMERAS
from dream_vla_ros.sim.environment import TabletopEnv
from dream_vla_ros.sim.rollout import RecoveryNoise, run_episode
from dream_vla_ros.sim.tasks import Task, task_from_instruction

INSTRUCTIONS = (
    "pick up the red block",
    "put the red block on the blue one",
    "push the green block to the left",
    "push the green block to the right",
    "pick up the purple block",
    "stack the orange block on the white block",
)


def measure_rendering(env: TabletopEnv, count: int = 200) -> None:
    """Print the time one image takes."""
    env.reset(task_from_instruction(INSTRUCTIONS[0]), 0)
    for camera in CAMERAS:
        env.sim.render(camera)
        begin = time.perf_counter()
        for _ in range(count):
            env.sim.render(camera)
        height, width = env.sim.image_size
        print(f"render {camera:<13} {width} x {height}: {(time.perf_counter() - begin) / count * 1e3:.2f} ms")


def measure_task(env: TabletopEnv, task: Task, first_seed: int, seeds: int, kicked: float) -> None:
    """Run one episode per seed; print success, length and speed."""
    noise = RecoveryNoise(probability=kicked)
    begin, cpu_begin = time.perf_counter(), time.process_time()
    episodes = [run_episode(env, task, first_seed + index, noise=noise) for index in range(seeds)]
    wall_s, cpu_s = time.perf_counter() - begin, time.process_time() - cpu_begin
    failed = [episode.seed for episode in episodes if not episode.success]
    lengths = [len(episode) for episode in episodes]
    print(
        f"{task.instruction:<42} kicked {kicked:>4.0%}  solved {seeds - len(failed):>3} of {seeds}  "
        f"steps {np.mean(lengths):4.1f}, at most {max(lengths)}  {seeds / wall_s:4.1f} episodes/s "
        f"({seeds / cpu_s:4.1f} per CPU second)" + (f"  failed seeds {failed}" if failed else ""),
        flush=True,
    )


def main() -> None:
    """Measure with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="episodes per task and setting")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--image-size", type=int, default=112, help="side of the images in pixels")
    arguments = parser.parse_args()
    env = TabletopEnv(image_size=(arguments.image_size, arguments.image_size))
    measure_rendering(env)
    for kicked in (0.0, 0.7, 1.0):
        for words in INSTRUCTIONS:
            measure_task(env, task_from_instruction(words), arguments.first_seed, arguments.seeds, kicked)
    env.close()


if __name__ == "__main__":
    main()
