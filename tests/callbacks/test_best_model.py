"""The best model of a run: kept over restarts, whole at any moment, with averaged weights."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_sep.callbacks import BestModel


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])


def run(path, model, scores, first_epoch=0, mode="max"):
    """Epochs with these scores, each with its score as the weight."""
    callback = BestModel(path, monitor="score", mode=mode)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, score in enumerate(scores, first_epoch):
        model.set_weights([np.full((1, 1), score)])
        callback.on_epoch_end(epoch, {"score": score})


def saved(path):
    return keras.saving.load_model(path).get_weights()[0].item()


@pytest.mark.parametrize(
    ("scores", "resumed", "best", "epoch"),
    [
        ([1.0, 3.0, 2.0], [], 3.0, 2),
        ([1.0, 3.0], [2.0, 3.0], 3.0, 2),
        ([1.0, 3.0], [2.0, 4.0], 4.0, 4),
        ([-5.0, float("nan"), -6.0], [float("nan")], -5.0, 1),
        ([float("nan"), -6.0], [], -6.0, 2),
    ],
)
def test_keeps_the_best(tmp_path, model, scores, resumed, best, epoch):
    run(tmp_path / "best.keras", model, scores)
    run(tmp_path / "best.keras", model, resumed, len(scores))
    assert saved(tmp_path / "best.keras") == best
    note = json.loads((tmp_path / "best.json").read_text())
    assert note == {"epoch": epoch, "score": best}
    assert {path.name for path in tmp_path.iterdir()} == {"best.keras", "best.json"}


def test_the_best_may_be_the_least(tmp_path, model):
    run(tmp_path / "best.keras", model, [3.0, float("nan"), 1.0, 2.0], mode="min")
    assert saved(tmp_path / "best.keras") == 1.0
    run(tmp_path / "best.keras", model, [1.5, -1.0], 4, mode="min")
    assert saved(tmp_path / "best.keras") == -1.0
    assert json.loads((tmp_path / "best.json").read_text()) == {"epoch": 6, "score": -1.0}
    with pytest.raises(ValueError, match='mode must be "max" or "min", got \'auto\''):
        BestModel(tmp_path / "best.keras", mode="auto")


def test_a_kill_while_saving_leaves_the_one_before(tmp_path, model, monkeypatch):
    run(tmp_path / "best.keras", model, [1.0])

    def save(path):
        path.write_bytes(b"half a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model, "save", save)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "best.keras", model, [2.0], 1)
    assert saved(tmp_path / "best.keras") == 1.0
    run(tmp_path / "best.keras", model, [1.5], 1)
    assert saved(tmp_path / "best.keras") == 1.5


def test_an_unknown_value_is_named(tmp_path, model):
    callback = BestModel(tmp_path / "best.keras", monitor="val_score")
    callback.set_model(model)
    with pytest.raises(ValueError, match=r"monitor.*\['loss', 'score'\].*'val_score'"):
        callback.on_epoch_end(0, {"loss": 1.0, "score": 2.0})


def test_holds_the_averaged_weights(tmp_path, model):
    """Validation sees them too; training itself goes on with the raw weights."""
    raw = []
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, "mse")
    start = model.get_weights()[0].item()

    class Record(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raw.append(self.model.get_weights()[0].item())
            logs["score"] = epoch

    best = BestModel(tmp_path / "best.keras", monitor="score")
    x, y = np.ones((4, 1)), np.full((4, 1), 5.0)
    swap = keras.callbacks.SwapEMAWeights()
    callbacks = [Record(), swap, best]
    model.fit(x, y, 4, 3, verbose=0, callbacks=callbacks, validation_data=(x, y))
    steps = [start]
    for _ in range(3):  # w - 0.1 · d(w - 5)²/dw
        steps.append(steps[-1] - 0.2 * (steps[-1] - 5))
    np.testing.assert_allclose(raw, steps[1:], rtol=1e-5)
    average = steps[1]  # Keras's average starts with the first step.
    for step in steps[2:]:
        average = 0.5 * average + 0.5 * step
    assert saved(tmp_path / "best.keras") == pytest.approx(average, rel=1e-5)
    outputs = ops.convert_to_numpy(keras.saving.load_model(tmp_path / "best.keras")(x))
    np.testing.assert_allclose(outputs, average, rtol=1e-5)
