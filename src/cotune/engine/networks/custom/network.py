"""The maker of a user's networks: a function of a trial, or a class of modules."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import cloudpickle
import torch
from torch import Tensor, nn

from cotune.engine.networks.custom.architecture import seeded
from cotune.engine.networks.custom.module import CustomModule, channels_first
from cotune.engine.networks.custom.trial import DecidedTrial
from cotune.engine.networks.custom.whole_numbers import is_out_of_range, out_of_range
from cotune.exceptions import UsageError
from cotune.user_code import load_reference, one_line

_FEATURES: Final = ("n_inputs", "n_features", "in_features", "input_size", "input_dim")
_CLASSES: Final = ("n_classes", "num_classes", "out_features", "n_outputs", "output_dim")
_SHAPE: Final = ("input_shape",)
GIVEN: Final = (*_FEATURES, *_CLASSES, *_SHAPE)
"""Arguments of a function or class that the data decide."""

_PROBED_ROWS: Final = 4


class RowsRefusedError(UsageError):
    """A network takes no rows of this type and shape."""


class CustomNetwork:
    """Maker of a user's networks.

    It travels to worker processes: they import a function or class with a reference, others are
    sent by value.

    Args:
        make: ``build(trial) -> nn.Module``, which asks the trial for its hyperparameters as in
            Optuna; or a class of modules, whose arguments are hyperparameters. Arguments in
            :data:`GIVEN` are filled in: the number of features and of classes, and the shape of a
            row (of images: channels, height, width).
        reference: ``FILE.py:NAME`` or ``MODULE:NAME``, if it was given so.
        rows: ``[some, features]`` of the dataset, with which a new network is tried; by default
            random numbers.

    Attributes:
        name: Shown to people.
        reference: As given.
        is_class: True for a class, False for a function of a trial.
        arguments: Default of each argument by name, without the trial.

    Raises:
        UsageError: It is no function or class, or needs arguments that Cotune does not know.
    """

    def __init__(
        self,
        make: Callable[..., nn.Module],
        reference: str | None = None,
        rows: Tensor | None = None,
    ) -> None:
        self._make = make
        self._rows = rows
        self.reference = reference
        self.name = reference or str(getattr(make, "__qualname__", type(make).__name__))
        if not callable(make):
            raise UsageError(f"model: {self.name} is no function or class that makes a network")
        self.is_class = isinstance(make, type)
        if self.is_class and not issubclass(make, nn.Module):  # type: ignore[arg-type]
            raise UsageError(f"model: {self.name} is no class of torch.nn.Module")
        try:
            arguments = list(inspect.signature(make).parameters.values())
        except (TypeError, ValueError):
            raise UsageError(f"model: the arguments of {self.name} are not known") from None
        named = [a for a in arguments if a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD)]
        if not self.is_class:
            if not named:
                raise UsageError(f"model: {self.name} takes no trial; write it as build(trial)")
            named = named[1:]
        self.arguments = {a.name: a.default for a in named}
        if not self.is_class:
            for name, default in self.arguments.items():
                if name not in GIVEN and default is inspect.Parameter.empty:
                    raise UsageError(
                        f"model: nobody knows argument {name} of {self.name}; it can have trial, "
                        "n_inputs, input_shape and n_classes"
                    )

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the rows: who trains has them all.
        if self.reference is not None:
            return load_custom_network, (self.reference,)
        return _unpickle, (cloudpickle.dumps(self._make),)

    def tried_with(self, rows: Tensor) -> CustomNetwork:
        """Return the same maker, which tries networks with these rows, ``[some, features]``."""
        return CustomNetwork(self._make, self.reference, rows)

    def rows_to_try(self, features: int) -> Tensor:
        """Return a few rows, ``[some, features]``; random ones where none are known."""
        if self._rows is not None and self._rows.shape[1] == features:
            return self._rows.float() if self._rows.is_floating_point() else self._rows
        return torch.randn(_PROBED_ROWS, features)

    def build(
        self, params: Any, input_shape: tuple[int, ...], n_classes: int, seed: int
    ) -> CustomModule:
        """Return a network with fresh weights, which depend on seed and hyperparameters alone.

        Args:
            params: Hyperparameters by name, or a trial to ask for them.
            input_shape: Shape of one row as it is in the data.

        Raises:
            UsageError: The maker returns no module, or one that takes no such rows or gives no
                logits.
            Exception: Any error of the user's code.
        """
        trial = (
            DecidedTrial(params) if isinstance(params, Mapping) and not self.is_class else params
        )
        refused = []
        is_whole = self._rows is not None and not self._rows.is_floating_point()
        for layout in _layouts(input_shape, is_whole):
            with seeded(seed):
                net = self._call(trial, input_shape, n_classes)
                if not isinstance(net, nn.Module):
                    kind = type(net).__name__
                    raise UsageError(f"model: {self.name} returns a {kind}, not a torch.nn.Module")
                module = CustomModule(net.float(), input_shape, layout, n_classes, seed).eval()
                probe = self.rows_to_try(math.prod(input_shape))[:_PROBED_ROWS]
                try:
                    with torch.no_grad():
                        out = module(probe)
                except Exception as error:
                    if is_whole and is_out_of_range(error):
                        raise UsageError(f"model: {out_of_range(module.net, probe)}") from error
                    refused.append(f"[rows{_sizes(layout)}]: {one_line(error)}")
                    continue
            if isinstance(out, Tensor) and out.shape == (len(probe), n_classes):
                module.gives_probabilities = _are_probabilities(out)
                return module
            what = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            wanted = (len(probe), n_classes)
            refused.append(f"[rows{_sizes(layout)}]: it gives {what}, where {wanted} is wanted")
        raise RowsRefusedError(f"model: {self.name} cannot be used with rows {'; '.join(refused)}")

    def ask(self, trial: Any, input_shape: tuple[int, ...], n_classes: int) -> None:
        """Run the function so that it asks the trial for its hyperparameters; drop the network."""
        with seeded(0):
            self._call(trial, input_shape, n_classes)

    def _call(self, trial: Any, input_shape: tuple[int, ...], n_classes: int) -> Any:
        features, shape = math.prod(input_shape), channels_first(input_shape)
        known: dict[str, Any] = {
            **dict.fromkeys(_FEATURES, features),
            **dict.fromkeys(_CLASSES, n_classes),
            **dict.fromkeys(_SHAPE, shape),
        }
        given = {name: value for name, value in known.items() if name in self.arguments}
        if not self.is_class:
            return self._make(trial, **given)
        custom = {name: value for name, value in trial.items() if name in self.arguments}
        for name, default in self.arguments.items():
            if default is inspect.Parameter.empty and name not in {**given, **custom}:
                raise UsageError(
                    f"model: argument {name} of {self.name} has no default; give it an entry in "
                    "the space"
                )
        return self._make(**{**given, **custom})


def load_custom_network(reference: str) -> CustomNetwork:
    """Load a function or class by ``FILE.py:NAME`` or ``MODULE:NAME``; the file is run.

    Raises:
        UsageError: There is none, or the file ends in an error (with its line).
    """
    return CustomNetwork(*load_reference(reference, "model"))


def _unpickle(content: bytes) -> CustomNetwork:
    return CustomNetwork(cloudpickle.loads(content))


def _layouts(input_shape: tuple[int, ...], is_whole: bool = False) -> list[tuple[int, ...]]:
    """Return the shapes in which a network may want a row, the likeliest first.

    Args:
        is_whole: Rows of whole numbers are no images: they come as they are first.
    """
    if len(input_shape) not in (2, 3):
        wanted = [input_shape]
    else:
        height, width, *rest = input_shape
        flat = (math.prod(input_shape),)
        last = (height, width, *(rest or [1]))
        wanted = [channels_first(input_shape), flat, input_shape, last]
        if is_whole:
            wanted.insert(0, input_shape)
    return list(dict.fromkeys(wanted))


def _are_probabilities(out: Tensor) -> bool:
    sums = out.sum(1)
    return bool((out >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)


def _sizes(layout: tuple[int, ...]) -> str:
    return "".join(f", {size}" for size in layout)
