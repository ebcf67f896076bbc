"""`SpeechMixtures` in Keras's `fit`: epochs, resuming, workers."""

import keras
import numpy as np
from synthetic_voices import mixtures


def frozen_model():
    """Learns nothing (rate 0), so that an epoch's loss tells which mixtures it saw."""
    mixture = keras.Input((None,))
    features = keras.layers.Reshape((-1, 1))(mixture)
    features = keras.layers.Conv1D(2, 9, padding="same", kernel_initializer="ones")(features)
    model = keras.Model(mixture, keras.layers.Permute((2, 1))(features))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def follow(data):
    return keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(data, "epoch", epoch)
    )


def test_fit_resumes_with_the_mixtures_of_its_epoch(voices):
    arguments = {"num_batches": 30, "batch_size": 1, "segment_seconds": 0.1}
    data = mixtures(voices, **arguments)
    validation = mixtures(voices, fixed=True, **arguments)
    history = frozen_model().fit(data, validation_data=validation, epochs=3, verbose=0).history
    assert len(set(history["loss"])) == 3
    np.testing.assert_allclose(history["val_loss"], history["val_loss"][0], rtol=1e-6)
    assert data.epoch == 3

    resumed = mixtures(voices, **arguments)
    resumed.epoch = 2
    again = frozen_model().fit(resumed, initial_epoch=2, epochs=3, verbose=0).history
    np.testing.assert_allclose(again["loss"], history["loss"][2:], rtol=1e-5)


def test_fit_resumes_with_backup_and_restore(voices, tmp_path):
    data = mixtures(voices)
    losses = frozen_model().fit(data, epochs=3, callbacks=follow(data), verbose=0).history["loss"]

    def backed_up(epochs):
        data = mixtures(voices)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        callbacks = [backup, follow(data)]
        return frozen_model().fit(data, epochs=epochs, callbacks=callbacks, verbose=0).history

    np.testing.assert_allclose(backed_up(2)["loss"], losses[:2], rtol=1e-5)
    np.testing.assert_allclose(backed_up(3)["loss"], losses[2:], rtol=1e-5)


def test_fit_with_several_workers(voices):
    data = mixtures(voices, workers=2, num_batches=20)
    history = frozen_model().fit(data, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    # Batches that Keras prefetched and kept may make it count one more.
    assert data.epoch >= 2
