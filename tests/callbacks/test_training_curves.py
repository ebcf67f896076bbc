"""The picture of a run."""

import keras
import numpy as np
import pytest

from keras_sep.callbacks import TrainingCurves

HEADER = "epoch,learning_rate,loss,val_loss\n"


def draw(tmp_path, log):
    (tmp_path / "log.csv").write_text(HEADER + log)
    TrainingCurves(tmp_path / "log.csv", tmp_path / "curves.png").on_epoch_end(0)
    return (tmp_path / "curves.png").read_bytes()


@pytest.mark.parametrize(
    "log",
    [
        "0,0.1,3.0,4.0\n",
        "0,0.1,3.0,4.0\n1,0.1,2.0,NA\n",
        "0,0.1,3.0,4.0\n1,0.1,2\n",
        "0,0.1,3.0,4.0\n1,0.1,2.0,31,0.1,2.0,3.0\n",
    ],
    ids=["one epoch", "a value missing", "a line cut off", "a line run into the next"],
)
def test_draws_any_log(tmp_path, log):
    assert draw(tmp_path, log).startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv", "curves.png"}


def test_draws_while_training(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callbacks = [
        keras.callbacks.CSVLogger(tmp_path / "log.csv", append=True),
        TrainingCurves(tmp_path / "log.csv", tmp_path / "curves.png"),
    ]
    x = np.ones((2, 1))
    model.fit(x, x, validation_data=(x, x), verbose=0, epochs=2, callbacks=callbacks)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
