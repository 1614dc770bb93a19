"""A user's own networks: made by a function of a trial, or by a class, and trained as lanes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import cloudpickle
import torch
from torch import Tensor, nn

from cotune import version
from cotune.engine.networks.common import OVERHEAD, Tensors
from cotune.engine.networks.custom.structure import Structure, is_constant, structure_of
from cotune.exceptions import UsageError
from cotune.records import Value

_FEATURES: Final = ("n_inputs", "n_features", "in_features", "input_size", "input_dim")
_CLASSES: Final = ("n_classes", "num_classes", "out_features", "n_outputs", "output_dim")
_SHAPE: Final = ("input_shape",)
GIVEN: Final = (*_FEATURES, *_CLASSES, *_SHAPE)
"""Arguments of a function or class that the data decide."""

_PROBED_ROWS: Final = 4
_SHOWN: Final = 200  # characters of another's error


class OwnNetwork:
    """What makes a user's networks.

    It travels to worker processes: a function of a file is imported there, any other function or
    class is sent by value.

    Args:
        make: ``build(trial) -> nn.Module``, which asks the trial for its hyperparameters as in
            Optuna; or a class of modules, whose arguments are hyperparameters. Arguments in
            :data:`GIVEN` are filled in: the number of features and of classes, and the shape of a
            row (of images: channels, height, width).
        reference: ``FILE.py:NAME`` or ``MODULE:NAME``, where it comes from there.
        rows: ``[some, features]``, of the dataset, by which a network is tried when it is made;
            without them, random numbers are.

    Attributes:
        name: For people.
        reference: As given.
        is_class: Whether it is a class.
        arguments: Their defaults by name, the trial left out.

    Raises:
        UsageError: It is no function or class, or wants arguments that nobody has.
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
            return load_own, (self.reference,)
        return _unpickle, (cloudpickle.dumps(self._make),)

    def tried_with(self, rows: Tensor) -> OwnNetwork:
        """The same, which tries networks with these rows, ``[some, features]``."""
        return OwnNetwork(self._make, self.reference, rows)

    def rows_to_try(self, features: int) -> Tensor:
        """A few rows, ``[some, features]``; random ones where none are known."""
        if self._rows is not None and self._rows.shape[1] == features:
            return self._rows.float() if self._rows.is_floating_point() else self._rows
        return torch.randn(_PROBED_ROWS, features)

    def build(
        self, params: Any, input_shape: tuple[int, ...], n_classes: int, seed: int
    ) -> OwnModule:
        """A network with fresh weights, which depend on the seed and the hyperparameters alone.

        Args:
            params: Hyperparameters by name, or a trial that is asked for them.
            input_shape: Of one row as it is in the data.

        Raises:
            UsageError: What was made is no module, takes no such rows, or gives no logits.
            Exception: Whatever the user's code raises.
        """
        trial = Given(params) if isinstance(params, Mapping) and not self.is_class else params
        refused = []
        is_whole = self._rows is not None and not self._rows.is_floating_point()
        for layout in _layouts(input_shape, is_whole):
            with _seeded(seed):
                net = self._call(trial, input_shape, n_classes)
                if not isinstance(net, nn.Module):
                    kind = type(net).__name__
                    raise UsageError(f"model: {self.name} returns a {kind}, not a torch.nn.Module")
                module = OwnModule(net.float(), input_shape, layout, seed).eval()
                probe = self.rows_to_try(math.prod(input_shape))[:_PROBED_ROWS]
                try:
                    with torch.no_grad():
                        out = module(probe)
                except Exception as error:
                    if is_whole and is_out_of_range(error):
                        raise UsageError(f"model: {out_of_range(module.net, probe)}") from error
                    refused.append(f"[rows{_sizes(layout)}]: {_line(error)}")
                    continue
            if isinstance(out, Tensor) and out.shape == (len(probe), n_classes):
                module.gives_probabilities = _are_probabilities(out)
                return module
            what = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            wanted = (len(probe), n_classes)
            refused.append(f"[rows{_sizes(layout)}]: it gives {what}, where {wanted} is wanted")
        raise RowsRefusedError(f"model: {self.name} cannot be used with rows {'; '.join(refused)}")

    def ask(self, trial: Any, input_shape: tuple[int, ...], n_classes: int) -> None:
        """Have the function ask the trial for its hyperparameters; what it makes is dropped."""
        with _seeded(0):
            self._call(trial, input_shape, n_classes)

    def _call(self, trial: Any, input_shape: tuple[int, ...], n_classes: int) -> Any:
        features, shape = math.prod(input_shape), _channels_first(input_shape)
        known: dict[str, Any] = {
            **dict.fromkeys(_FEATURES, features),
            **dict.fromkeys(_CLASSES, n_classes),
            **dict.fromkeys(_SHAPE, shape),
        }
        given = {name: value for name, value in known.items() if name in self.arguments}
        if not self.is_class:
            return self._make(trial, **given)
        own = {name: value for name, value in trial.items() if name in self.arguments}
        for name, default in self.arguments.items():
            if default is inspect.Parameter.empty and name not in {**given, **own}:
                raise UsageError(
                    f"model: argument {name} of {self.name} has no default; give it an entry in "
                    "the space"
                )
        return self._make(**{**given, **own})


def load_own(reference: str) -> OwnNetwork:
    """A function or class by ``FILE.py:NAME`` or ``MODULE:NAME``; the file is run.

    Raises:
        UsageError: There is none, or the file ends in an error (with its line).
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise UsageError(f"model: {reference!r} is not FILE.py:NAME")
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else _import(place)
    except UsageError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UsageError(f"model: {where_it_failed(error, place)}") from error
    if not hasattr(module, name):
        raise UsageError(f"model: {place} has no {name}")
    return OwnNetwork(getattr(module, name), f"{_absolute(place)}:{name}")


def where_it_failed(error: BaseException, near: str = "") -> str:
    """A user's error in one line: the file and line of theirs, and what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(version.__file__).parent)
    theirs = [frame for frame in frames if not frame.filename.startswith((ours, "<frozen"))]
    where = f"{near}: " if near else ""
    if theirs:
        where = f"{theirs[-1].filename}:{theirs[-1].lineno}: "
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}: "
    return where + _line(error)


def _absolute(place: str) -> str:
    return str(Path(place).resolve()) if place.endswith(".py") else place


def _import(name: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` has it
    return importlib.import_module(name)


def _import_file(path: Path) -> Any:
    path = path.resolve()
    if not path.is_file():
        raise UsageError(f"model: {path}: there is no such file")
    # Another name once the file has changed, as in a notebook.
    name = f"_cotune_{path.stem}_{abs(hash((str(path), path.stat().st_mtime_ns))):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # what lies beside it can be imported
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _unpickle(content: bytes) -> OwnNetwork:
    return OwnNetwork(cloudpickle.loads(content))


class Given:
    """A trial whose hyperparameters are decided: asked for one, it gives the value.

    Args:
        params: By name.
    """

    number = 0

    def __init__(self, params: Mapping[str, Value]) -> None:
        self.params = dict(params)

    def suggest_float(self, name: str, low: float, high: float, **_: Any) -> float:
        return float(self._value(name))

    def suggest_int(self, name: str, low: int, high: int, **_: Any) -> int:
        return int(self._value(name))

    def suggest_categorical(self, name: str, choices: Any) -> Value:
        return self._value(name)

    suggest_uniform = suggest_loguniform = suggest_float

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        return float(self._value(name))

    def set_user_attr(self, key: str, value: Any) -> None:
        """Nothing: it was set when the trial was asked for."""

    def _value(self, name: str) -> Value:
        if name not in self.params:
            raise UsageError(
                f"model: asks for {name}, which it did not ask for when the trial began; "
                "what it asks for may depend on hyperparameters alone"
            )
        return self.params[name]


class OwnModule(nn.Module):
    """A user's network on rows as engines have them.

    Attributes:
        net: Theirs.
        gives_probabilities: It ends in a softmax, so their logarithms are its logits.
        seed: What it was made from: its constants may depend on it.

    Args:
        input_shape: Of one row as it is in the data.
        layout: The shape in which ``net`` wants a row.
    """

    def __init__(
        self,
        net: nn.Module,
        input_shape: tuple[int, ...],
        layout: tuple[int, ...],
        seed: int,
    ) -> None:
        super().__init__()
        self.net = net
        self.input_shape, self.layout = input_shape, layout
        self.gives_probabilities = False
        self.seed = seed
        # Keras's layers do not look at the mode of the module.
        self.is_keras = any(kind.__module__.startswith("keras.") for kind in type(net).__mro__)

    def forward(self, rows: Tensor) -> Tensor:
        """``[batch, features]`` -> logits ``[batch, n_classes]``."""
        if len(self.layout) == 3 and self.layout == _channels_first(self.input_shape):
            height, width, *rest = self.input_shape
            rows = rows.reshape(-1, height, width, *(rest or [1])).permute(0, 3, 1, 2)
        else:
            rows = rows.reshape(-1, *self.layout)
        out: Tensor = self.net(rows, training=self.training) if self.is_keras else self.net(rows)
        if self.gives_probabilities:
            # The least that float32 has below a probability of 1.
            return out.clamp_min(torch.finfo(out.dtype).eps).log()
        return out


class OwnShape:
    """One of a user's networks as what a lane is made of.

    Args:
        module: The network, whose tensors are the lane's first ones.
        n_classes: Its outputs.
    """

    def __init__(self, module: OwnModule, n_classes: int) -> None:
        self.live = module
        self.n_classes = n_classes
        self._constant = {n for n, value in module.named_buffers() if is_constant(value)}

    @cached_property
    def structure(self) -> Structure:
        """What networks that are trained together must have in common."""
        live = self.live
        found = structure_of(live.net)
        return replace(found, key=f"{live.layout}{live.gives_probabilities}{found.key}")

    def parameters(self) -> Tensors:
        """The network's own, by name; changes of them change the network."""
        return {n: v.detach() for n, v in self._parameters() if v.requires_grad}

    def buffers(self) -> Tensors:
        """Likewise, with frozen parameters; without what :meth:`constants` has."""
        frozen = {n: v.detach() for n, v in self._parameters() if not v.requires_grad}
        buffers = dict(self.live.named_buffers())
        tensors = frozen | {n: v for n, v in buffers.items() if n not in self._constant}
        return {name: value for name, value in tensors.items() if value.is_floating_point()}

    def constants(self) -> Tensors:
        """Buffers of whole numbers and masks, which the network has and changes by itself."""
        return {n: v for n, v in self.live.named_buffers() if n in self._constant}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Give the network the values of :meth:`parameters` and :meth:`buffers`.

        Raises:
            ValueError: They are of another network.
        """
        own = {**self.parameters(), **self.buffers()}
        if {n: v.shape for n, v in own.items()} != {n: v.shape for n, v in tensors.items()}:
            raise ValueError("the tensors are of another network")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(tensors[name])

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter."""
        return {name: tuple(value.shape) for name, value in self.parameters().items()}

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each buffer of floats."""
        return {name: tuple(value.shape) for name, value in self.buffers().items()}

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for place, (name, value) in enumerate(self.live.named_parameters()):
            # Keras numbers its layers through, from model to model.
            yield f"keras.{place}" if self.live.is_keras else name, value

    def check_trainable(self, rows: Tensor) -> None:
        """Make sure that it has parameters, takes all these rows, and gives logits in training.

        Args:
            rows: ``[some, features]``.

        Raises:
            UsageError: It does not.
        """
        if not self.parameters():
            raise UsageError(
                "model: PyTorch finds no parameters in the network; keep layers as attributes or "
                "in nn.ModuleList"
            )
        with _seeded(0):
            try:
                out = self.live.train()(rows)
            except Exception as error:
                if not rows.is_floating_point() and is_out_of_range(error):
                    raise UsageError(f"model: {out_of_range(self.live.net, rows)}") from error
                raise
        self.live.eval()
        if not isinstance(out, Tensor):
            kind = type(out).__name__
            raise UsageError(f"model: the network gives a {kind} while training, not a tensor")

    @property
    def work(self) -> int:
        """About the multiplications a row, and what a step costs besides."""
        return OVERHEAD + sum(value.numel() for value in self.live.parameters())


class RowsRefusedError(UsageError):
    """A network takes no rows of this type and shape."""


def is_out_of_range(error: BaseException) -> bool:
    """Whether a whole number of a row was looked up where there are fewer."""
    said = str(error)
    return isinstance(error, IndexError) and ("in self" in said or "out of bounds" in said)


def out_of_range(net: nn.Module, rows: Tensor) -> str:
    """What is wrong where a network cannot look up the whole numbers of these rows."""
    low, high = int(rows.min()), int(rows.max())
    held = f"the rows hold whole numbers from {low} to {high}"
    places = [one.num_embeddings for one in net.modules() if isinstance(one, nn.Embedding)]
    if low < 0:
        return f"{held}, and a network looks up none below 0; number them from 0"
    if places and min(places) <= high:
        return (
            f"{held}, and its nn.Embedding has places for 0 to {min(places) - 1}; give it the "
            "greatest number that can occur, plus 1, as num_embeddings"
        )
    return f"{held}, more than the network looks up"


def _layouts(input_shape: tuple[int, ...], is_whole: bool = False) -> list[tuple[int, ...]]:
    """Shapes in which a network may want a row, the likeliest first.

    Args:
        is_whole: Rows of whole numbers are no images: they come as they are first.
    """
    if len(input_shape) not in (2, 3):
        wanted = [input_shape]
    else:
        height, width, *rest = input_shape
        flat = (math.prod(input_shape),)
        last = (height, width, *(rest or [1]))
        wanted = [_channels_first(input_shape), flat, input_shape, last]
        if is_whole:
            wanted.insert(0, input_shape)
    return list(dict.fromkeys(wanted))


def _channels_first(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(input_shape) not in (2, 3):
        return input_shape
    height, width, *rest = input_shape
    return (*(rest or [1]), height, width)


def _are_probabilities(out: Tensor) -> bool:
    sums = out.sum(1)
    return bool((out >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """PyTorch's random numbers of the CPU from this seed, and as they were afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _sizes(layout: tuple[int, ...]) -> str:
    return "".join(f", {size}" for size in layout)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_SHOWN]
