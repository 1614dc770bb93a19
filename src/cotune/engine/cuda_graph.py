"""A cohort's step on a GPU as one CUDA graph: launched at once, not operation by operation.

Small networks keep a GPU waiting for launches; a graph replays all of a step's launches by one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import ClassVar, Final

import torch
from torch import Tensor

from cotune.engine.augment import Augmentation
from cotune.engine.cohorts.base import Cohort
from cotune.engine.device import first_line
from cotune.engine.memory import is_out_of_memory

_WARM_UP_STEPS: Final = 3  # libraries set themselves up in them, which a graph must not record


class CapturedStep:
    """Steps a cohort from tensors that stay in place, and replays what the step launched.

    The first steps run operation by operation, the next is recorded. Where recording fails, all
    go on operation by operation, and no other cohort is recorded.

    Attributes:
        works: Recording has not failed so far.

    Args:
        inputs: ``[rows, features]`` of the dataset.
        labels: ``[rows]``.
        input_shape: Of one row before it was flattened.
        batch_size: Rows of a minibatch.
        augmentation: What happens to them.
        lanes: Of the cohort.
    """

    works: ClassVar[bool] = True

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        input_shape: tuple[int, ...],
        batch_size: int,
        augmentation: Augmentation,
        lanes: int,
    ) -> None:
        self._inputs, self._labels, self._input_shape = inputs, labels, input_shape
        self._augmentation = augmentation
        self._moves = labels.new_zeros(batch_size, augmentation.n_drawn)
        self._index = labels.new_empty(batch_size)
        self._factors = torch.ones(lanes, device=inputs.device)
        self._known_factors = [1.0] * lanes
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: tuple[Tensor, Tensor] | None = None
        self._until_capture = _WARM_UP_STEPS if inputs.is_cuda and self.works else None

    def __call__(
        self, cohort: Cohort, index: Tensor, moves: Tensor, lr_factors: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """One step.

        Args:
            cohort: Always the same one.
            index: The minibatch's rows.
            moves: What its augmentation drew for them.
            lr_factors: As for :meth:`Cohort.step`.

        Returns:
            As :meth:`Cohort.step`; the next call overwrites them.
        """
        self._index.copy_(index)
        self._moves.copy_(moves)
        if list(lr_factors) != self._known_factors:
            self._known_factors = list(lr_factors)
            self._factors.copy_(torch.tensor(self._known_factors), non_blocking=True)
        if self._until_capture == 0:
            self._until_capture = None
            self._capture(cohort)
        if self._graph is not None and self._result is not None:
            self._graph.replay()
            return self._result
        if self._until_capture is None:
            return self._step(cohort)
        self._until_capture -= 1
        return self._step_aside(cohort)

    def _step(self, cohort: Cohort) -> tuple[Tensor, Tensor]:
        rows = self._inputs.index_select(0, self._index)
        if self._augmentation:
            rows = self._augmentation.apply(rows, self._moves, self._input_shape)
        labels = self._labels.index_select(0, self._index)
        return cohort.step(rows, labels, self._factors)

    def _step_aside(self, cohort: Cohort) -> tuple[Tensor, Tensor]:
        """Work on another stream, as capturing will."""
        stream = torch.cuda.Stream(self._inputs.device)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            result = self._step(cohort)
        torch.cuda.current_stream().wait_stream(stream)
        return result

    def _capture(self, cohort: Cohort) -> None:
        drawing = cohort.lanes if cohort.draws else []
        noise = [lane.generator.get_state() for lane in drawing]
        try:
            graph = torch.cuda.CUDAGraph()
            for lane in drawing:
                # Or every replay would draw the same noise.
                graph.register_generator_state(lane.generator)
            with torch.cuda.graph(graph):
                result = self._step(cohort)
        except RuntimeError as error:
            for lane, state in zip(drawing, noise, strict=True):
                # The old ones may wait for the end of a recording for ever.
                lane.generator = torch.Generator(lane.generator.device)
                lane.generator.set_state(state)
            if is_out_of_memory(error):
                raise
            CapturedStep.works = False
            why = first_line(error)
            warnings.warn(f"training without CUDA graphs, more slowly: {why}", stacklevel=2)
            return
        self._graph, self._result = graph, result
