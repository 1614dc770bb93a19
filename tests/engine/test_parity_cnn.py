"""Every convolutional network does what one trained alone does, whatever its neighbours are.

With batch norm, what a layer adds to all values of a channel is subtracted again, and a gradient
that is zero but for rounding is what Adam and RMSprop make full steps of (see ``parity``). Two
shapes have such gradients: a kernel of one weight, and a block on an image of one pixel, to which
max pooling gives values that ReLU leaves as they are. Networks with these are trained by SGD.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits, load_sample_images

from cotune.data import Standardize
from cotune.data.dataset import TrainingData
from cotune.engine.cohorts.cnn import CNNCohort
from cotune.engine.engine import Engine
from cotune.engine.families import family_of
from cotune.engine.lane import Lane
from cotune.engine.networks import CNNArchitecture
from cotune.engine.optim import MOMENTS
from cotune.engine.schedules import SCHEDULES
from cotune.engine.step import make_cohort, train_epoch
from cotune.exceptions import DataError
from cotune.inference.model_file import Classifier, load_model, module_from_weights, save_model
from cotune.records import TrialSpec, Value
from cotune.space.hyperparameters import ACTIVATIONS, DOWNSAMPLINGS, HEADS
from tests.support.parity import (
    FLOAT32_TOLERANCE,
    FLOAT64_TOLERANCE,
    IN_FLOAT32,
    RUN_SEED,
    check_against_reference,
    cnn,
    distance,
    go_on,
    same_bits,
    start_lanes,
    train,
)

# Measured: float32 2e-6, float64 2e-13.

N_TRAIN, N_ROWS = 16 * 25 + 8, 600


def training_data(
    images: NDArray[np.generic], labels: NDArray[np.generic], dtype: type
) -> TrainingData:
    pixels = images.reshape(len(images), -1).astype(np.float64)
    scaled = ((pixels - pixels.mean()) / pixels.std()).astype(dtype)
    n_classes = int(labels.max()) + 1
    return TrainingData(scaled, labels.astype(np.int64), N_TRAIN, n_classes, images.shape[1:])


def grey(dtype: type = np.float32, height: int = 8, width: int = 8) -> TrainingData:
    """Digits, or their upper left."""
    bunch = load_digits()
    return training_data(bunch.images[:N_ROWS, :height, :width], bunch.target[:N_ROWS], dtype)


def colour(dtype: type = np.float32, height: int = 8, width: int = 8) -> TrainingData:
    """Patches of two photographs; the class says which, and from which third of it."""
    photographs = load_sample_images().images
    generator = np.random.default_rng(0)
    patches, labels = [], []
    for _ in range(N_ROWS):
        which, top, left = (int(generator.integers(n)) for n in (2, 420, 630))
        patches.append(photographs[which][top : top + height, left : left + width])
        labels.append(3 * which + top // 140)
    return training_data(np.stack(patches), np.array(labels), dtype)


images = pytest.mark.parametrize("make", [grey, colour])
norms = pytest.mark.parametrize("batch_norm", [True, False])


def networks(batch_norm: bool, pixel_after: int = 3) -> list[TrialSpec]:
    """Of 1-4 blocks and all kernels, with and without a dense layer, by all optimizers.

    Args:
        pixel_after: Blocks after which the image is one pixel.
    """
    specs = []
    for i, (blocks, kernel) in enumerate(itertools.product((1, 2, 3, 4), (1, 3, 5, 7))):
        optimizer = IN_FLOAT32[(i + i // 4) % 4]
        if batch_norm and (kernel == 1 or blocks > pixel_after):
            optimizer = "sgd"
        own: dict[str, Value] = {"n_blocks": blocks, "kernel_size": kernel, "optimizer": optimizer}
        own |= {"filters": 6, "batch_norm": batch_norm, "dense_width": 64 * ((i + blocks) % 2)}
        own |= {"filters_1": 5} if blocks > 1 else {}
        specs.append(cnn(i, **own | ({"lr": 0.01} if optimizer == "sgd" else {})))
    return specs


class TestReference:
    @images
    @norms
    def test_float64(self, make, batch_norm):
        check_against_reference(networks(batch_norm), make(np.float64), FLOAT64_TOLERANCE)

    @images
    @norms
    def test_float32(self, make, batch_norm):
        """Few and small ones: each pixel has a ReLU that may sit within rounding of its kink."""
        shapes = ((1, 3, 0), (2, 5, 8), (3, 3, 8), (2, 7, 0))
        specs = [
            cnn(
                i,
                optimizer=optimizer,
                n_blocks=blocks,
                kernel_size=kernel,
                dense_width=dense,
                batch_norm=batch_norm,
            )
            for i, ((blocks, kernel, dense), optimizer) in enumerate(
                zip(shapes, IN_FLOAT32, strict=True)
            )
        ]
        check_against_reference(specs, make(), FLOAT32_TOLERANCE)

    @pytest.mark.parametrize(
        ("make", "size", "pixel_after"),
        [
            (grey, (7, 5), 2),
            (colour, (5, 3), 4),
            (grey, (1, 8), 4),
            (colour, (2, 7), 4),
            (colour, (1, 1), 0),
        ],
    )
    def test_sizes_at_which_pooling_stops(self, make, size, pixel_after):
        specs = [s for s in networks(True, pixel_after) if s.number % 3 or s.number >= 8]
        check_against_reference(specs, make(np.float64, *size), FLOAT64_TOLERANCE)

    @images
    @norms
    def test_further_blocks(self, make, batch_norm):
        """Residual and plain ones, pooled and strided, with each activation and each head."""
        kinds = itertools.product(DOWNSAMPLINGS, HEADS, (True, False))
        specs = [
            cnn(
                i,
                optimizer=("adamw", "sgd", "muon")[i % 3],
                n_blocks=2,
                convolutions=1 + i % 2,
                convolutions_1=3,
                residual=residual,
                downsampling=downsampling,
                head=head,
                activation=ACTIVATIONS[i % 3],
                batch_norm=batch_norm,
                dense_width=8 * (i % 2),
            )
            for i, (downsampling, head, residual) in enumerate(kinds)
        ]
        check_against_reference(specs, make(np.float64), FLOAT64_TOLERANCE)

    def test_one_channel_that_is_named(self):
        """An image of shape ``[height, width, 1]`` is one of ``[height, width]``."""
        plain = grey()
        named = replace(plain, input_shape=(*plain.input_shape, 1))
        _, _, expected = train([cnn(0)], plain)
        check_against_reference([cnn(0)], named, FLOAT32_TOLERANCE)
        assert same_bits(train([cnn(0)], named)[2][0], expected[0])

    def test_every_schedule_of_every_optimizer(self):
        pairs = itertools.product(MOMENTS, SCHEDULES)
        specs = [
            cnn(i, optimizer=optimizer, schedule=schedule, epochs=2)
            for i, (optimizer, schedule) in enumerate(pairs)
        ]
        check_against_reference(specs, grey(np.float64), FLOAT64_TOLERANCE)

    def test_label_smoothing_nesterov_and_betas(self):
        specs = [cnn(i, label_smoothing=smooth) for i, smooth in enumerate((0.0, 0.1, 0.5))]
        sgd: dict[str, Value] = {"optimizer": "sgd", "nesterov": True}
        specs += [cnn(3 + i, momentum=m, **sgd) for i, m in enumerate((0.0, 0.5, 0.9))]
        specs += [cnn(6 + i, optimizer=o, beta1=0.5, beta2=0.9) for i, o in enumerate(MOMENTS)]
        check_against_reference(specs, colour(np.float64), FLOAT64_TOLERANCE)

    def test_all_rows_and_few_rows(self):
        specs = [replace(cnn(i, n_blocks=1 + i), part="all") for i in range(2)]
        check_against_reference(specs, grey(np.float64), FLOAT64_TOLERANCE)
        check_against_reference([cnn(0, batch_size=1024)], grey(np.float64), FLOAT64_TOLERANCE)


def bits(lane: Lane) -> list[bytes]:
    """All that decides how a lane goes on."""
    moments = [value for tensors in lane.moments.values() for value in tensors.values()]
    tensors = [*lane.parameters.values(), *lane.buffers.values(), *moments, lane.steps]
    return [t.numpy().tobytes() for t in (*tensors, lane.generator.get_state())]


class TestNeighbours:
    def test_alone_and_among_fifteen_others(self):
        """Bit for bit: they share rows and nothing else."""
        lone = cnn(16, n_blocks=2, kernel_size=5, dense_width=16, dropout=0.3)
        others = networks(True)[:15]
        _, _, alone = train([lone], grey(), epochs=1)
        for among in ([lone, *others], [*others, lone]):
            _, _, weights = train(among, grey(), epochs=1)
            assert same_bits(weights[16], alone[16])

    @norms
    def test_a_diverging_lane_leaves_its_neighbours_bits(self, batch_norm):
        specs = [
            cnn(i, optimizer=optimizer, batch_norm=batch_norm, dropout=0.2, n_blocks=1 + i % 3)
            for i, optimizer in enumerate((*MOMENTS, "adamw"))
        ]
        wild = replace(specs[2], params={**specs[2].params, "lr": 1e30})
        results = []
        for third in (specs[2], wild):
            engine = Engine(grey(), RUN_SEED, max_lanes=5)
            engine.add([*specs[:2], third, *specs[3:]])
            results.append((engine, {r.number: r for r in engine.step()}))
        (calm, calm_reports), (engine, reports) = results
        assert calm_reports[2].error is None
        assert reports[2].error
        for n in (0, 1, 3, 4):
            assert same_bits(engine.weights(n), calm.weights(n)), n
            assert replace(reports[n], seconds=0.0) == replace(calm_reports[n], seconds=0.0)
        go_on(engine, list(reports.values()))
        again = sorted((r.number, r.epoch) for r in engine.step())
        assert again == [(n, 2) for n in (0, 1, 3, 4)]

    def test_moving_between_cohorts_keeps_the_state(self):
        """Bit for bit, and each lane goes on as one that was never moved."""
        specs = [cnn(i, optimizer=o, dropout=0.3) for i, o in enumerate(MOMENTS)]
        ended = []
        for moves in (False, True):
            lanes, data = start_lanes(specs, colour())
            train_epoch(make_cohort(lanes, data), data, RUN_SEED)
            groups = [[0, 1, 2, 3]]
            if moves:
                before = [bits(lane) for lane in lanes]
                make_cohort([lanes[2], lanes[0]], data)
                assert [bits(lane) for lane in lanes] == before
                groups = [[3, 0], [1], [2]]
            for group in groups:
                train_epoch(make_cohort([lanes[i] for i in group], data), data, RUN_SEED)
            ended.append([bits(lane) for lane in lanes])
        assert ended[0] == ended[1]

    def test_are_not_trained_with_perceptrons(self):
        engine = Engine(grey(), RUN_SEED, max_lanes=8)
        engine.add([cnn(0), replace(cnn(1), params={**cnn(1).params, "model": "mlp"}), cnn(2)])
        assert [[r.number for r in engine.step()] for _ in range(3)] == [[0, 2], [1], []]

    def test_those_that_need_the_most_memory_go_first(self):
        lanes, _ = start_lanes(
            [cnn(i, n_blocks=1, filters=n) for i, n in enumerate((3, 9, 5))], grey()
        )
        assert [lane.spec.number for lane in CNNCohort(lanes).lanes] == [1, 2, 0]


class TestExport:
    @images
    @norms
    def test_a_lane_is_its_module_twin(self, make, batch_norm):
        specs = [s for s in networks(batch_norm) if s.number % 3 == 0]
        lanes, data = start_lanes(specs, make())
        cohort = make_cohort(lanes, data)
        train_epoch(cohort, data, RUN_SEED)
        logits = cohort.logits(data.inputs)
        for i, lane in enumerate(cohort.lanes):
            exported = {name: value.numpy() for name, value in lane.state_dict().items()}
            assert isinstance(lane.architecture, CNNArchitecture)
            twin = module_from_weights(lane.architecture, [0.2], exported)
            with torch.no_grad():
                torch.testing.assert_close(twin(data.inputs), logits[:, i], rtol=1e-5, atol=1e-5)

    @images
    def test_a_saved_lane_predicts_the_same(self, make, tmp_path: Path):
        data = make()
        specs = [cnn(i, n_blocks=1 + i, dense_width=16 * (i % 2), dropout=0.2) for i in range(3)]
        engine = Engine(data, RUN_SEED, max_lanes=3)
        engine.add(specs)
        reports = {report.number: report for report in engine.step()}
        classes = tuple(f"class {i}" for i in range(data.n_classes))
        rows = torch.from_numpy(data.inputs).view(-1, *data.input_shape)
        for s in specs:
            shape = family_of(s.params).architecture(s.params, data.input_shape, data.n_classes)
            network = module_from_weights(shape, [0.2], engine.weights(s.number))
            model = Classifier(network, Standardize(0.0, 1.0, data.input_shape), classes).eval()
            save_model(tmp_path / str(s.number), model, s.params, "1")
            again = load_model(tmp_path / str(s.number))
            assert isinstance(again.network.architecture, CNNArchitecture)
            assert again.network.architecture == shape
            with torch.no_grad():
                logits = again(rows)
                torch.testing.assert_close(logits, model(rows), rtol=0.0, atol=0.0)
            right = logits[N_TRAIN:].argmax(1).numpy() == data.labels[N_TRAIN:]
            assert reports[s.number].scores["accuracy"] == pytest.approx(right.mean(), abs=1e-9)


class TestStart:
    def test_weights_are_as_pytorchs(self):
        """Uniform in +-1/sqrt(fan in)."""
        (lane,), _ = start_lanes([cnn(0, filters=200, kernel_size=5, batch_norm=False)], colour())
        assert isinstance(lane.architecture, CNNArchitecture)
        twin = lane.architecture.module([0.0])
        bounds = {"conv.0": 75**-0.5, "conv.1": 5000**-0.5, "head": 800**-0.5}
        for name, theirs in twin.state_dict().items():
            bound = bounds[name.rpartition(".")[0]]
            for values in (lane.parameters[name], theirs):
                assert float(values.abs().max()) <= bound
                if values.numel() >= 200:
                    assert float(values.std()) == pytest.approx(bound / 3**0.5, rel=0.1)

    def test_rows_that_are_no_images(self):
        flat = replace(grey(), input_shape=(64,))
        with pytest.raises(DataError, match=r"shape \(64,\): use an MLP"):
            Engine(flat, RUN_SEED, max_lanes=1).add([cnn(0)])

    def test_the_same_seed_gives_the_same_bits(self):
        specs = [cnn(i, dropout=0.2, kernel_size=5) for i in range(2)]
        _, _, weights = train(specs, colour())
        torch.manual_seed(99)  # PyTorch's global state has no part in it
        _, _, again = train(specs, colour())
        for n in range(2):
            assert same_bits(weights[n], again[n])
        assert distance(weights[0], weights[1]) > 0.1
