"""A running average of weights, which is less noisy than the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dream_vla_ros.training.sharding import part, part_like, whole_like


class Average:
    """Exponential average of a module's trainable parameters, in float32.

    :param decay: Share of the old average that is kept in a step; fewer of it in the first steps, so that
        the average does not begin with the weights of the start.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._examples = dict(_trained(module))
        self._values = {name: part(p).float().clone() for name, p in _trained(module)}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take the weights after a step in; steps count from 1."""
        decay = min(self._decay, step / (step + 9.0))
        for name, parameter in _trained(module):
            self._values[name].lerp_(part(parameter).float(), 1.0 - decay)

    @contextmanager
    def in_place(self, module: nn.Module) -> Iterator[None]:
        """Put the average into the module for a while."""
        kept = {name: part(parameter).clone() for name, parameter in _trained(module)}
        _copy(self._values, module)
        try:
            yield
        finally:
            _copy(kept, module)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the whole averages by parameter name; every process has to ask."""
        return {name: whole_like(value, self._examples[name]) for name, value in self._values.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take averages over."""
        if set(state) != set(self._values):
            raise KeyError("the saved average is of other parameters")
        self._values = {
            name: part_like(state[name], self._examples[name]).to(old.device, copy=True)
            for name, old in self._values.items()
        }


def _trained(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return ((name, p.detach()) for name, p in module.named_parameters() if p.requires_grad)


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], module: nn.Module) -> None:
    for name, parameter in _trained(module):
        part(parameter).copy_(values[name])
