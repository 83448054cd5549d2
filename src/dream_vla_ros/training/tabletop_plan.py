"""What `make train-tabletop` makes a checkpoint from: demonstrations, stages and rounds of corrections."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from dream_vla_ros.policy.sampling import Sampling
from dream_vla_ros.training.augment import Augmentation
from dream_vla_ros.training.demonstrations import Recipe
from dream_vla_ros.training.precision import has_fast_bfloat16
from dream_vla_ros.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[3]
ALIGNMENT, ACTIONS = "alignment", "actions"


def _stage() -> TrainSettings:
    """Return what all stages have in common."""
    return TrainSettings(
        steps=4000,
        batch_size=32,
        learning_rate=1e-3,
        warmup_steps=100,
        final_rate=0.02,
        betas=(0.9, 0.98),
        ema_decay=0.99,
        bf16=has_fast_bfloat16(),
        save_every=100,
    )


@dataclass(frozen=True)
class Round:
    """Corrections and what is learned with them.

    :param corrections: Episodes that the policy drives; those of rounds before are kept.
    :param training: On all there is by then.
    :param own_share: Of the samples drawn, how many are of episodes that a policy drove.
    """

    corrections: Recipe
    training: TrainSettings
    own_share: float = 0.45


def _round(
    number: int,
    steps: int,
    constant_share: float,
    *,
    towers: float,
    episodes: int = 800,
    shares: tuple[float, float, float] = (0.15, 0.45, 0.4),
) -> Round:
    recipe = Recipe(episodes, seed=4_000_000 + 1_000_000 * number, shares=shares, towers=towers, in_a_row=4)
    settings = replace(_stage(), steps=steps, learning_rate=8e-4, constant_share=constant_share)
    return Round(recipe, replace(settings, seed=3 + number))


@dataclass(frozen=True)
class Plan:
    """Everything that decides what comes out.

    :param layout: Folder with the model's config, tokenizer and action bounds.
    :param embodiment: Parameter file of the robot.
    :param towers: More demonstrations.
    :param rounds: What follows the first training on actions.
    :param start_share: Of the examples of actions that start from pure noise, as predictions in one step do.
    :param sampling: How the policy's actions are drawn, also when it moves the arm for corrections.
    """

    layout: Path = ROOT / "models" / "tabletop_tiny"
    embodiment: Path = ROOT / "config" / "tabletop.yaml"
    demonstrations: Recipe = field(default_factory=lambda: Recipe(episodes=4500))
    towers: Recipe = field(
        default_factory=lambda: Recipe(
            episodes=2000, seed=2_000_000, shares=(0.2, 0.6, 0.2), towers=1.0, in_a_row=4
        )
    )
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(1.0, 0.08, 0.1, 0.1, 0.0))
    alignment: TrainSettings = field(
        default_factory=lambda: replace(_stage(), steps=1500, constant_share=1.0, seed=1)
    )
    actions: TrainSettings = field(
        default_factory=lambda: replace(_stage(), steps=5000, constant_share=0.7, seed=2)
    )
    rounds: tuple[Round, ...] = field(
        default_factory=lambda: (
            _round(0, steps=2500, constant_share=0.7, towers=0.5),
            _round(1, steps=4000, constant_share=0.4, towers=0.6),
            _round(2, 4500, 0.4, towers=0.75, episodes=1600, shares=(0.1, 0.75, 0.15)),
        )
    )
    alignment_weight: float = 0.5
    start_share: float = 0.5
    sampling: Sampling = field(default_factory=lambda: Sampling(steps=1, samples=4))

    @property
    def stages(self) -> dict[str, TrainSettings]:
        """How each stage trains, in their order."""
        later = {_refinement(number): one.training for number, one in enumerate(self.rounds)}
        return {ALIGNMENT: self.alignment, ACTIONS: self.actions, **later}

    def round_of(self, stage: str) -> Round | None:
        """Return the round that a stage belongs to; None for those before the first."""
        return {_refinement(number): one for number, one in enumerate(self.rounds)}.get(stage)


def _refinement(number: int) -> str:
    return f"refinement_{number + 1}"
