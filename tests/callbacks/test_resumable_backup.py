"""Training that stops and goes on, and backups that are cut off between any two file operations."""

import itertools
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_sep.callbacks import ResumableBackup


class Killed(BaseException):
    """Instead of a kill."""


def compiled_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(0.1, clipnorm=5.0, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, "mse")
    return model


def fit(folder, epochs, kill_at=None):
    """Trains as `keras-sep train` does; the model and what callbacks know at the end."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))

    def begin(epoch, logs):
        if epoch == kill_at:
            raise Killed

    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=2, min_delta=0.5)
    stop = keras.callbacks.EarlyStopping("loss", patience=9, min_delta=0.5)
    model = compiled_model()
    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_begin=begin),
        plateau,
        stop,
        ResumableBackup(folder, remember=[plateau, stop]),
        keras.callbacks.SwapEMAWeights(),
    ]
    model.fit(x, y, 4, epochs, verbose=0, shuffle=False, callbacks=callbacks)
    return model, [(callback.best, callback.wait) for callback in (plateau, stop)]


def test_optimizer_is_built_before_the_first_step(tmp_path):
    """Or TensorFlow traces that step twice."""

    def look(batch, logs):
        built.append(model.optimizer.built)

    built, model = [], compiled_model()
    callbacks = [ResumableBackup(tmp_path / "backup")]
    callbacks.append(keras.callbacks.LambdaCallback(on_train_batch_begin=look))
    model.fit(np.zeros((4, 3)), np.zeros((4, 1)), verbose=0, callbacks=callbacks)
    assert built == [True]


def test_goes_on_as_if_it_had_not_stopped(tmp_path):
    """Stopped twice, once in the middle of waiting for the plateau."""
    expected, memory = fit(tmp_path / "whole", 6)
    for kill_at in (2, 5):
        with pytest.raises(Killed):
            fit(tmp_path / "run" / "backup", 6, kill_at)
    model, resumed_memory = fit(tmp_path / "run" / "backup", 6)
    np.testing.assert_allclose(resumed_memory, memory, rtol=1e-4)
    assert float(model.optimizer.learning_rate) < 0.1
    for ours, theirs in zip(
        [*model.variables, *model.optimizer.variables],
        [*expected.variables, *expected.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_allclose(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), atol=1e-5
        )
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["backup"]


def with_epoch(model, epoch):
    """Marks the weights with the epoch they belong to."""
    for variable in [*model.variables, *model.optimizer.variables]:
        variable.assign(ops.full(variable.shape, epoch + 1, variable.dtype))
    return model


def back_up(folder, model, epoch):
    stop = keras.callbacks.EarlyStopping()
    stop.best, stop.wait = epoch + 0.5, epoch + 1
    backup = ResumableBackup(folder, remember=[stop])
    backup.set_model(with_epoch(model, epoch))
    backup.on_epoch_end(epoch)


def resume(folder, model):
    """The number of epochs done, which weights, optimizer and callback must agree on."""
    stop = keras.callbacks.EarlyStopping()
    backup = ResumableBackup(folder, remember=[stop])
    backup.set_model(with_epoch(model, -1))
    backup.on_train_begin()
    values = {
        float(np.ravel(ops.convert_to_numpy(variable))[0])
        for variable in [*model.variables, *model.optimizer.variables]
    }
    assert values == {model._initial_epoch} == {stop.wait} == {stop.best + 0.5}
    return model._initial_epoch


OPERATIONS = [
    (Path, "rename"),
    (Path, "mkdir"),
    (Path, "write_text"),
    (shutil, "rmtree"),
    (keras.Model, "save_weights"),
    (json, "dumps"),
]


def kill_at_operation(monkeypatch, number, halfway):
    """The file operation of that number does not happen, or half of what it removes goes."""
    counter = itertools.count()

    def wrap(operation, name):
        def wrapped(*arguments, **keywords):
            if next(counter) == number:
                if halfway and name == "rmtree" and Path(arguments[0]).exists():
                    next(Path(arguments[0]).iterdir()).unlink()
                raise Killed
            return operation(*arguments, **keywords)

        return wrapped

    for owner, name in OPERATIONS:
        monkeypatch.setattr(owner, name, wrap(getattr(owner, name), name))
    return counter


@pytest.fixture(scope="module")
def model():
    model = compiled_model()
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("halfway", [False, True])
def test_a_kill_between_any_two_file_operations(tmp_path, model, halfway):
    outcomes = []
    for number in itertools.count():
        folder = tmp_path / str(number) / "backup"
        back_up(folder, model, 0)
        with pytest.MonkeyPatch.context() as monkeypatch:
            kill_at_operation(monkeypatch, number, halfway)
            try:
                back_up(folder, model, 1)
            except Killed:
                killed = True
            else:
                killed = False
        outcomes.append(resume(folder, model))
        # Whatever was left behind, the next epoch is backed up.
        back_up(folder, model, 2)
        assert resume(folder, model) == 3
        if not killed:
            break
    assert len(outcomes) > 8
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {1, 2}


def test_a_kill_in_the_first_epoch_starts_again(tmp_path, model):
    with pytest.MonkeyPatch.context() as monkeypatch:
        kill_at_operation(monkeypatch, 3, halfway=False)
        with pytest.raises(Killed):
            back_up(tmp_path / "backup", model, 0)
    backup = ResumableBackup(tmp_path / "backup")
    backup.set_model(with_epoch(model, 41))
    backup.on_train_begin()
    assert float(ops.convert_to_numpy(model.variables[0]).ravel()[0]) == 42
