"""The interface of a model family: all that the rest of Cotune asks of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from torch import Tensor

from cotune.engine.networks.common import Architecture, Network
from cotune.records import Value
from cotune.space.hyperparameters import MAX_LAYERS, HyperparameterSpec

if TYPE_CHECKING:
    from cotune.engine.cohorts.base import Cohort
    from cotune.engine.lane import Lane

_MAX_COUNT: Final = 1 << 48


class Family(ABC):
    """Networks that share their hyperparameters and are trained by one kind of cohort.

    Attributes:
        name: Value of the hyperparameter ``model``.
        hyperparameters: Those of the family alone; all families have those of the training,
            ``batch_norm`` and ``dropout``.
        needs_images: Rows that are no images are refused.
        is_fused: Lanes that are trained together take less time than one after another.
        runs_user_code: Its errors are a trial's own, its steps are not captured in CUDA graphs,
            and its noise is drawn on the CPU.
    """

    name: ClassVar[str]
    hyperparameters: ClassVar[Mapping[str, HyperparameterSpec]] = {}
    needs_images: ClassVar[bool] = False
    is_fused: ClassVar[bool] = True
    runs_user_code: ClassVar[bool] = False

    @abstractmethod
    def architecture(
        self,
        params: Mapping[str, Value],
        input_shape: tuple[int, ...],
        n_classes: int,
        seed: int = 0,
    ) -> Architecture:
        """Return the architecture that a configuration asks for.

        Args:
            params: Complete hyperparameters.
            input_shape: Shape of one row, as of an image before it was flattened.
            seed: The trial's, for networks that are made with their weights.

        Raises:
            DataError: The family has no networks for such rows.
        """

    @abstractmethod
    def dropout_rates(self, params: Mapping[str, Value]) -> list[float]:
        """Return a configuration's dropout rates, 0-1, as ``Architecture.module`` takes them."""

    @abstractmethod
    def cohort(
        self,
        lanes: Sequence[Lane],
        batch_size: int,
        bfloat16: bool = False,
        balanced: Tensor | None = None,
    ) -> Cohort:
        """Put lanes of the same key and epoch together.

        Args:
            batch_size: Rows of a minibatch.
            bfloat16: Compute the large products of the training in 16 bits.
            balanced: Class weights by :func:`cotune.engine.losses.balance`; None where no lane has
                any.
        """

    def stacked_cohort(
        self,
        lanes: Sequence[Lane],
        batch_size: int,
        bfloat16: bool = False,
        balanced: Tensor | None = None,
    ) -> Cohort:
        """Put lanes together for a GPU: by few large operations, where the family has a way to.

        Args:
            lanes, batch_size, bfloat16, balanced: As for :meth:`cohort`.
        """
        return self.cohort(lanes, batch_size, bfloat16, balanced)

    @abstractmethod
    def read(self, described: Mapping[str, Any], params: Any) -> tuple[Architecture, list[float]]:
        """Return the architecture and dropout rates that a model file describes.

        Nothing of the file may be trusted: :func:`read_count` and the like check it.

        Args:
            described: Result of ``Network.describe``.
            params: Hyperparameters in the file.

        Raises:
            KeyError, TypeError, ValueError: It describes no network of this family.
        """

    def network(
        self,
        params: Mapping[str, Value],
        input_shape: tuple[int, ...],
        n_classes: int,
        seed: int = 0,
    ) -> Network:
        """Return a fresh network of a configuration as an ordinary module."""
        architecture = self.architecture(params, input_shape, n_classes, seed)
        return architecture.module(self.dropout_rates(params))


def read_count(value: Any, least: int = 1, most: int = _MAX_COUNT) -> int:
    """Return a whole number of a model file.

    Raises:
        ValueError: It is none, or out of range.
    """
    if type(value) is not int or not least <= value <= most:
        raise ValueError("not a positive whole number, or absurdly large")
    return value


def read_counts(values: Any, least: int = 0) -> tuple[int, ...]:
    """Return a list of positive whole numbers of a model file.

    Args:
        least: Its shortest length.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(values, list) or not least <= len(values) <= MAX_LAYERS:
        raise ValueError("not a list, or too few or too many layers")
    return tuple(read_count(value) for value in values)


def read_switch(value: Any) -> bool:
    """Return True or False of a model file.

    Raises:
        ValueError: It is neither.
    """
    if type(value) is not bool:
        raise ValueError("not a switch")
    return value


def read_word(value: Any, words: Sequence[str]) -> str:
    """Return a word of a model file.

    Raises:
        ValueError: It is none of these.
    """
    if value not in words:
        raise ValueError(f"not one of {', '.join(words)}")
    return str(value)


def read_rates(values: Any, count: int) -> list[float]:
    """Return the dropout rates of a model file.

    Raises:
        ValueError: There are not so many, or one is not in 0-1.
    """
    rates = [float(rate) for rate in values]
    if len(rates) != count or not all(0.0 <= rate < 1.0 for rate in rates):
        raise ValueError("not one rate a layer")
    return rates
