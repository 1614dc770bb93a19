"""Lanes in training, in one file: what is needed to resume them bit for bit.

Tensors are in safetensors, the rest in its metadata as JSON: nothing that is read can run code.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cotune.engine.lane import Lane, start
from cotune.engine.networks import CustomNetwork, Tensors
from cotune.engine.schedules import Plateau
from cotune.exceptions import StorageError
from cotune.records import TrialSpec

_VERSION = 1


def save_lanes(path: Path, lanes: Sequence[Lane]) -> None:
    """Write lanes in this order; the caller makes the file last.

    Raises:
        StorageError: It cannot be written.
    """
    tensors: Tensors = {}
    described = []
    for i, lane in enumerate(lanes):
        described.append(
            {
                "spec": lane.spec.to_json(),
                "epoch": lane.epoch,
                "averaged": lane.averaged,
                "best_score": lane.best_score,
                "plateau": asdict(lane.plateau),
                "horizon": lane.horizon,
            }
        )
        tensors[f"{i}/steps"] = lane.steps
        tensors[f"{i}/noise"] = lane.generator.get_state()
        for kind, group in _groups(lane).items():
            tensors |= {f"{i}/{kind}/{name}": value for name, value in group.items()}
    # Copies: lanes of a cohort view the same memory, and convolutions have an order of their own.
    copies = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    try:
        save_file(copies, path, {"version": str(_VERSION), "lanes": json.dumps(described)})
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{path}: cannot be written: {error}") from error


def saved_specs(path: Path) -> list[TrialSpec]:
    """Return the trials whose lanes are in a file, in its order; [] if it cannot be read."""
    try:
        with safe_open(path, "pt") as file:
            known = json.loads((file.metadata() or {})["lanes"])
            return [TrialSpec.from_json(one["spec"]) for one in known]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return []


def load_lanes(
    path: Path,
    wanted: Collection[TrialSpec],
    input_shape: tuple[int, ...],
    n_classes: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    custom: CustomNetwork | None = None,
) -> list[Lane]:
    """Return the lanes of these trials, in the order of the file.

    Args:
        wanted: Trials; those that are not in the file are skipped.

    Raises:
        StorageError: The file is damaged, or not of lanes as they are here.
    """
    lanes = []
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("version") != str(_VERSION):
                raise StorageError(f"{path}: is of another version of Cotune")
            for i, known in enumerate(json.loads(metadata["lanes"])):
                spec = TrialSpec.from_json(known["spec"])
                if spec not in wanted:
                    continue
                lane = start(spec, input_shape, n_classes, device, dtype, custom)
                lane.epoch, lane.averaged = int(known["epoch"]), int(known["averaged"])
                lane.best_score = known["best_score"]
                # Older files have neither.
                lane.plateau = Plateau(**known.get("plateau", {}))
                lane.horizon = known.get("horizon", lane.horizon)
                lane.steps.copy_(file.get_tensor(f"{i}/steps"))
                lane.generator.set_state(file.get_tensor(f"{i}/noise"))
                for kind, group in _groups(lane).items():
                    for name, value in group.items():
                        _fill(value, file.get_tensor(f"{i}/{kind}/{name}"))
                lanes.append(lane)
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path}: is no checkpoint that can be used: {error}") from error
    return lanes


def _groups(lane: Lane) -> dict[str, Tensors]:
    groups = {"parameters": lane.parameters, "buffers": lane.buffers}
    if lane.best_score is not None:
        groups["best"] = lane.best
    groups["average"] = lane.average
    groups["constants"] = lane.architecture.constants()
    return groups | {f"moments.{name}": tensors for name, tensors in lane.moments.items()}


def _fill(value: Tensor, saved: Tensor) -> None:
    if value.shape != saved.shape or value.dtype != saved.dtype:
        raise ValueError(f"a tensor of shape {tuple(saved.shape)}, not {tuple(value.shape)}")
    value.copy_(saved)
