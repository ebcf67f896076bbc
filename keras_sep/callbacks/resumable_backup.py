"""A backup of the training state that can be interrupted at any moment."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import keras


class ResumableBackup(keras.callbacks.Callback):
    """Keras's `BackupAndRestore`, written beside and renamed, with the memory of other callbacks.

    After every epoch the weights, the optimizer's state and the epoch's number go to a new folder
    that then takes the place of the old one. `fit` goes on from there. What `ReduceLROnPlateau`
    and `EarlyStopping` know (their best value and how long they have waited) would be lost at
    every start; it is kept too.

    A built model's optimizer is built when training begins, as Keras does where it goes on: else
    TensorFlow traces the first step twice, as the optimizer makes its variables within it.

    Args:
        folder: Where the backup is kept.
        remember: Callbacks whose `best` and `wait` are kept. They must come before this one in
            the list of callbacks, and so should what must not miss an epoch, such as `BestModel`:
            after a kill between them the epoch is repeated. `SwapEMAWeights` must not swap on
            epochs.
    """

    def __init__(self, folder: str | Path, remember: Sequence[keras.callbacks.Callback] = ()):
        super().__init__()
        self.folder = Path(folder)
        self.remember = list(remember)
        self._next = self.folder.with_name(self.folder.name + ".next")
        self._previous = self.folder.with_name(self.folder.name + ".previous")

    def on_train_begin(self, logs=None):
        if self.model.built:
            self.model.optimizer.build(self.model.trainable_variables)
        if self._previous.exists() and not self.folder.exists():
            self._previous.rename(self.folder)
        if not self.folder.exists():
            return
        self._keras_backup(self.folder).on_train_begin()
        memory = json.loads((self.folder / "callbacks.json").read_text())
        for callback, values in zip(self.remember, memory, strict=True):
            vars(callback).update(values)

    def on_epoch_end(self, epoch, logs=None):
        shutil.rmtree(self._next, ignore_errors=True)
        self._next.mkdir(parents=True)
        self._keras_backup(self._next).on_epoch_end(epoch)
        memory = [
            {name: getattr(callback, name) for name in ("best", "wait")}
            for callback in self.remember
        ]
        (self._next / "callbacks.json").write_text(json.dumps(memory, default=float))
        shutil.rmtree(self._previous, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(self._previous)
        self._next.rename(self.folder)
        shutil.rmtree(self._previous, ignore_errors=True)

    def _keras_backup(self, folder):
        backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        backup.set_model(self.model)
        return backup
