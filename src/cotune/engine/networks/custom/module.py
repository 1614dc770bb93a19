"""A user's network on rows as engines have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from cotune.engine.networks.common import CUSTOM, Network, Tensors
from cotune.engine.networks.custom.structure import is_constant


class CustomModule(Network):
    """A user's network, from flat rows to logits.

    Attributes:
        net: The user's module.
        gives_probabilities: It ends in a softmax; its logits are their logarithms.
        n_classes: Its outputs.
        seed: Seed that it was made from: its constants may depend on it.

    Args:
        input_shape: Shape of one row as it is in the data.
        layout: The shape in which ``net`` wants a row.
    """

    def __init__(
        self,
        net: nn.Module,
        input_shape: tuple[int, ...],
        layout: tuple[int, ...],
        n_classes: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.net = net
        self.input_shape, self.layout = input_shape, layout
        self.gives_probabilities = False
        self.n_classes = n_classes
        self.seed = seed
        # Keras's layers do not look at the mode of the module.
        self.is_keras = any(kind.__module__.startswith("keras.") for kind in type(net).__mro__)
        # Now, as statistics of a lane that explodes are not finite either.
        self._constants = {name for name, value in self.named_buffers() if is_constant(value)}

    def forward(self, rows: Tensor) -> Tensor:
        """``[batch, features]`` -> logits ``[batch, n_classes]``."""
        if len(self.layout) == 3 and self.layout == channels_first(self.input_shape):
            height, width, *rest = self.input_shape
            rows = rows.reshape(-1, height, width, *(rest or [1])).permute(0, 3, 1, 2)
        else:
            rows = rows.reshape(-1, *self.layout)
        out: Tensor = self.net(rows, training=self.training) if self.is_keras else self.net(rows)
        if self.gives_probabilities:
            # The least that float32 has below a probability of 1.
            return out.clamp_min(torch.finfo(out.dtype).eps).log()
        return out

    def describe(self) -> dict[str, Any]:
        return {
            "family": CUSTOM,
            "input_shape": list(self.input_shape),
            "n_classes": self.n_classes,
            "seed": self.seed,
        }

    def trained(self) -> Tensors:
        """Return the trained parameters by name; changing them changes the network."""
        return {n: v.detach() for n, v in self._named() if v.requires_grad}

    def buffers_of_floats(self) -> Tensors:
        """Return buffers and frozen parameters of floats, without :meth:`constants`."""
        frozen = {n: v.detach() for n, v in self._named() if not v.requires_grad}
        tensors = frozen | {n: v for n, v in self.named_buffers() if n not in self._constants}
        return {name: value for name, value in tensors.items() if value.is_floating_point()}

    def constants(self) -> Tensors:
        """Return buffers of whole numbers and masks, which the network changes by itself."""
        return {n: v for n, v in self.named_buffers() if n in self._constants}

    def tensors(self) -> Tensors:
        return {**self.trained(), **self.buffers_of_floats()}

    def load_tensors(self, tensors: Tensors) -> None:
        known = self.tensors()
        if {n: v.shape for n, v in known.items()} != {n: v.shape for n, v in tensors.items()}:
            raise ValueError("the tensors are of another network")
        with torch.no_grad():
            for name, value in known.items():
                value.copy_(tensors[name])

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        for place, (name, value) in enumerate(self.named_parameters()):
            # Keras numbers its layers through, from model to model.
            yield f"keras.{place}" if self.is_keras else name, value


def channels_first(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return an image's shape as channels, height, width; other shapes as they are."""
    if len(input_shape) not in (2, 3):
        return input_shape
    height, width, *rest = input_shape
    return (*(rest or [1]), height, width)
