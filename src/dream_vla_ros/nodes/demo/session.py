"""Start the demo's graph, carry out its goals and measure; afterwards no process is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.cli.do import sentence
from dream_vla_ros.nodes.cli.progress import ProgressLine
from dream_vla_ros.nodes.client.robot import DreamVLA
from dream_vla_ros.nodes.demo.monitor import DemoMonitor
from dream_vla_ros.nodes.demo.plan import PlanDemo
from dream_vla_ros.nodes.demo.processes import ProcessGroup, choose_domain
from dream_vla_ros.nodes.demo.run import DemoRun, GoalReport
from dream_vla_ros.nodes.demo.scene import camera_poses
from dream_vla_ros.nodes.demo.settings import Actor, SessionSettings
from dream_vla_ros.nodes.demo.summary import Summary
from dream_vla_ros.nodes.planner.client import PlannerClient
from dream_vla_ros.nodes.planner.parameters import Mode
from dream_vla_ros.nodes.resources import TABLETOP, robot_config
from dream_vla_ros.report.recording import GoalSpan, Recording
from dream_vla_ros.report.statistics import RateStatistics, rate_statistics


def run_session(actor: Actor, settings: SessionSettings, progress: ProgressLine) -> tuple[Summary, Recording]:
    """Start simulation, controller and policy (and planner), carry out all goals, and end the processes.

    :raises RuntimeError: If a node dies or does not come up; the message says which and why.
    """
    domain = choose_domain()
    # Both for the nodes and for the client and the monitor in this process.
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    embodiment = Embodiment.from_file(robot_config(TABLETOP))
    recording = Recording(actor.name, "untrained weights" if actor.untrained else "")
    with ProcessGroup(settings.out / "logs", domain) as processes:
        start_nodes(processes, actor, settings)
        with DemoMonitor(embodiment, recording, settings.out) as monitor, DreamVLA() as robot:
            run = DemoRun(robot, monitor, recording, processes, progress.show)
            took_s = run.wait_until_ready()
            progress.end(
                f"simulation, controller and policy are up after {took_s:.1f} s (ROS domain {domain})"
            )
            plans: PlanDemo | None = None
            if settings.plan is None:
                goals = [_carry_out(run, settings, index, progress) for index in range(len(settings.tasks))]
            else:
                plans = PlanDemo(run, monitor, recording, processes, embodiment, progress.show)
                goals = _carry_out_plans(plans, settings, progress)
            sent = monitor.sent
    for name, (pose, on_arm) in camera_poses().items():
        if name in recording.cameras:
            recording.cameras[name].pose, recording.cameras[name].on_arm = pose, on_arm
    timing = embodiment.timing
    return (
        Summary(
            actor.name,
            actor.objective,
            actor.untrained,
            actor.expert,
            goals,
            {name: _during(times, recording.goals) for name, times in sent.images.items()},
            timing.camera_rate,
            _during(sent.commands, recording.goals, 1.0 / timing.control_rate),
            timing.control_rate,
            None if plans is None else plans.reports,
        ),
        recording,
    )


def _carry_out_plans(plans: PlanDemo, settings: SessionSettings, progress: ProgressLine) -> list[GoalReport]:
    assert settings.plan is not None
    goals: list[GoalReport] = []
    with PlannerClient() as planner:
        for index, task in enumerate(settings.tasks):
            goals += plans.carry_out(
                task,
                Mode(settings.plan.mode),
                seed=settings.seed + index,
                time_limit_s=settings.time_limit_s,
                planner=planner,
            )
            report = plans.reports.tasks[-1]
            for instruction, outcome in report.steps:
                progress.end(f"  {instruction}: {outcome}")
            progress.end(f"{task}: {report.code.name.lower().replace('_', ' ')} {report.message}".rstrip())
    return goals


def start_nodes(processes: ProcessGroup, actor: Actor, settings: SessionSettings) -> None:
    """Start simulation, controller and policy."""
    config = ("--params-file", str(robot_config(TABLETOP)))

    def start(name: str, module: str, **parameters: object) -> None:
        arguments = [part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")]
        processes.start(name, module, ["--ros-args", *config, *arguments])

    size = settings.image_size
    start("sim", "dream_vla_ros.nodes.sim.node", image_width=size, image_height=size, seed=settings.seed)
    start("controller", "dream_vla_ros.nodes.controller.node")
    if actor.checkpoint is None:
        start("expert", actor.module)
    else:
        start(
            "policy",
            actor.module,
            checkpoint=actor.checkpoint,
            objective=actor.objective,
            device=settings.device,
            seed=settings.seed,
            # Simulation, controller and this process need the other half; a model whose threads have to wait
            # for them is slower than one with fewer.
            threads=max((os.cpu_count() or 2) // 2, 1),
        )
    if settings.plan is not None:
        _start_planner(start, settings)


def _start_planner(start: Callable[..., None], settings: SessionSettings) -> None:
    assert settings.plan is not None
    if settings.plan.checkpoint is None:
        start("planner", "dream_vla_ros.nodes.planner.node", answers="oracle")
        return
    start(
        "planner",
        "dream_vla_ros.nodes.planner.node",
        checkpoint=settings.plan.checkpoint,
        device=settings.device,
        seed=settings.seed,
        threads=max((os.cpu_count() or 2) // 2, 1),
    )


def _carry_out(run: DemoRun, settings: SessionSettings, index: int, progress: ProgressLine) -> GoalReport:
    task = settings.tasks[index]
    report = run.carry_out(task, seed=settings.seed + index, time_limit_s=settings.time_limit_s)
    done = {True: "done", False: "not done", None: "success unknown"}[report.reached]
    progress.end(f"{task}: {sentence(report.result)}: {done}")
    return report


def _during(
    times_s: Sequence[float], goals: Sequence[GoalSpan], nominal_period_s: float | None = None
) -> RateStatistics:
    # Between the goals the table is laid out anew; that is no part of what is measured.
    inside = [[time_s for time_s in times_s if goal.began_s <= time_s <= goal.ended_s] for goal in goals]
    return rate_statistics(*inside, nominal_period_s=nominal_period_s)
