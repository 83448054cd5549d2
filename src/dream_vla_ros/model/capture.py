"""Record what a function does on a GPU once, and replay it: no launches, no Python, no waiting in between."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

KEPT_GRAPHS = 8  # each keeps its activations' memory: a few prompt lengths, with and without a former chunk
WARM_UPS = 2  # kernels are chosen and compiled in the first runs, which must not be recorded

Function = Callable[..., Tensor]
Shapes = tuple[tuple[torch.Size, torch.dtype] | None, ...]


@dataclass
class Recording:
    """A graph, the memory it reads its inputs from and the memory it leaves its result in."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor | None, ...]
    output: Tensor


class Captured:
    """A function of tensors that is recorded on a GPU, once per key and shapes, and called elsewhere.

    What is recorded must neither wait for the device nor depend on values of its inputs on the host. Should
    recording fail, the function is called from then on, and `failure` says why.

    :param function: takes a key, then tensors or None; returns one tensor.
    :param enabled: whether to record at all.
    """

    def __init__(self, function: Function, enabled: bool = True) -> None:
        self._function = function
        self._enabled = enabled
        self._kept: OrderedDict[tuple[Hashable, Shapes], Recording] = OrderedDict()
        self._pool: Any = None
        self.failure = ""

    @property
    def recordings(self) -> int:
        """How many graphs are kept."""
        return len(self._kept)

    def __call__(self, key: Hashable, *inputs: Tensor | None) -> Tensor:
        """Call or replay.

        :param key: everything beside the tensors that decides what the function does.
        """
        on_gpu = any(tensor is not None and tensor.is_cuda for tensor in inputs)
        if not on_gpu or not self._enabled or self.failure:
            return self._function(key, *inputs)
        shapes = tuple(None if tensor is None else (tensor.shape, tensor.dtype) for tensor in inputs)
        recording = self._kept.pop((key, shapes), None)
        if recording is None:
            try:
                recording = self._record(key, inputs)
            except RuntimeError as error:
                self.failure = f"recording a CUDA graph failed: {str(error).splitlines()[0]}"
                self._kept.clear()
                return self._function(key, *inputs)
            while len(self._kept) >= KEPT_GRAPHS:
                self._kept.popitem(last=False)
        self._kept[key, shapes] = recording
        for static, given in zip(recording.inputs, inputs, strict=True):
            if static is not None and given is not None:
                static.copy_(given, non_blocking=True)
        recording.graph.replay()
        return recording.output.clone()

    def _record(self, key: Hashable, inputs: tuple[Tensor | None, ...]) -> Recording:
        statics = tuple(None if tensor is None else tensor.clone() for tensor in inputs)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._function(key, *statics)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            # One pool for all graphs: they never run at once, and results are copied out at once.
            self._pool = torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=self._pool):
            output = self._function(key, *statics)
        return Recording(graph, statics, output)
