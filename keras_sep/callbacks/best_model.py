"""The best model of a run on disk."""

import json
import os
from pathlib import Path

import keras


class BestModel(keras.callbacks.Callback):
    """Saves the model after each epoch that is the best so far, written beside and renamed.

    With an optimizer that averages weights (`use_ema`), the averages are what is saved; validate
    with them too, by `keras.callbacks.SwapEMAWeights()`, not swapped on epochs.

    The score is kept next to the model as `<name>.json`, so that a resumed run does not replace
    a better model.

    Args:
        path: A `.keras` file.
        monitor: The value of `logs` to compare.
        mode: "max" if more is better, "min" if less is.

    Raises:
        ValueError: `mode` is neither; at the end of an epoch, `logs` has no value `monitor`.
    """

    def __init__(
        self, path: str | Path, monitor: str = "val_si_snr_improvement", mode: str = "max"
    ):
        super().__init__()
        if mode not in ("max", "min"):
            raise ValueError(f'mode must be "max" or "min", got {mode!r}')
        self.path = Path(path)
        self.monitor = monitor
        self.mode = mode
        self.best = float("-inf" if mode == "max" else "inf")

    def on_train_begin(self, logs=None):
        score = self.path.with_suffix(".json")
        if self.path.exists() and score.exists():
            self.best = json.loads(score.read_text())[self.monitor]

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor not in (logs or {}):
            raise ValueError(
                f"monitor must be one of the logged values {sorted(logs or {})}, "
                f"got {self.monitor!r}"
            )
        current = float(logs[self.monitor])
        # NaN is never the best.
        if not (current > self.best if self.mode == "max" else current < self.best):
            return
        self.best = current
        beside = self.path.with_name(f"{self.path.stem}.next.keras")
        try:
            self._save(beside)
            os.replace(beside, self.path)
        finally:
            beside.unlink(missing_ok=True)
        score = self.path.with_suffix(".json")
        beside = score.with_suffix(".json.next")
        beside.write_text(json.dumps({"epoch": epoch + 1, self.monitor: current}) + "\n")
        os.replace(beside, score)

    def _save(self, path):
        optimizer = getattr(self.model, "optimizer", None)
        if not getattr(optimizer, "use_ema", False):
            self.model.save(path)
            return
        variables = self.model.trainable_variables
        weights = [keras.ops.convert_to_numpy(variable) for variable in variables]
        optimizer.finalize_variable_values(variables)
        try:
            self.model.save(path)
        finally:
            for variable, weight in zip(variables, weights, strict=True):
                variable.assign(weight)
