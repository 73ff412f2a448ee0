"""A training step on a CUDA device as one graph: no Python runs between its operations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from udg_policy.training.loss import Losses

_WARM_UP = 3  # steps before the capture, which libraries use to set themselves up

Step = Callable[[Tensor, torch.Generator], Losses]
"""Views (B,) on the device and what its noise is drawn from -> losses; everything else stays where it is in memory."""


class CapturedStep:
    """Runs steps: the first ones operation by operation, the others as a graph, one for each kind of step.

    Where a step cannot be captured (an operation that waits for the host), all run operation by operation.
    """

    def __init__(self, batch: int, device: torch.device) -> None:
        self._views = torch.zeros(batch, dtype=torch.long, device=device)
        self._generator = torch.Generator(device)
        self._graphs: dict[bool, tuple[torch.cuda.CUDAGraph, Losses]] = {}
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._done = 0
        self.failure = "" if self._stream is not None else "not a CUDA device"

    def __call__(self, step: Step, views: Tensor, seed: int, kind: bool) -> Losses:
        """One step. `kind`: whatever else it depends on; each has a graph of its own."""
        self._views.copy_(views, non_blocking=True)
        self._generator.manual_seed(seed)
        self._done += 1
        if self._done <= _WARM_UP or self.failure:
            return self._one_by_one(step)
        if kind not in self._graphs:
            try:
                self._graphs[kind] = self._capture(step)
            except RuntimeError as error:
                self.failure = str(error).splitlines()[0]
                return self._one_by_one(step)
        graph, losses = self._graphs[kind]
        graph.replay()
        return losses.each(Tensor.clone)

    def _one_by_one(self, step: Step) -> Losses:
        if self._stream is None:
            return step(self._views, self._generator)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            losses = step(self._views, self._generator)
        torch.cuda.current_stream().wait_stream(self._stream)
        return losses

    def _capture(self, step: Step) -> tuple[torch.cuda.CUDAGraph, Losses]:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        with torch.cuda.graph(graph, stream=self._stream):
            losses = step(self._views, self._generator)
        return graph, losses
