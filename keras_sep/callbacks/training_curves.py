"""A picture of a run's curves."""

import csv
import os
from pathlib import Path

import keras


class TrainingCurves(keras.callbacks.Callback):
    """Draws the values of a `CSVLogger`'s file after each epoch: a PNG, one panel a value.

    Args:
        log: The CSV file. The logger must come before this callback in the list.
        path: The picture. Training and validation (`val_…`) share a panel.
    """

    def __init__(self, log: str | Path, path: str | Path):
        super().__init__()
        self.log = Path(log)
        self.path = Path(path)

    def on_epoch_end(self, epoch, logs=None):
        draw_curves(self.log, self.path)


def draw_curves(log: Path, path: Path) -> None:
    """Draws a CSV log, written beside and renamed."""
    from matplotlib.figure import Figure

    with open(log, newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = [_number(row["epoch"]) + 1 for row in rows]
    names = [name for name in rows[0] if name != "epoch" and not name.startswith("val_")]
    figure = Figure(figsize=(7, 2.6 * len(names)), layout="constrained")
    for axis, name in zip(figure.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
        for column, label in [(name, "training"), (f"val_{name}", "validation")]:
            if column in rows[0]:
                axis.plot(epochs, [_number(row[column]) for row in rows], ".-", label=label)
        axis.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axis.grid(alpha=0.3)
        axis.legend()
    beside = path.with_name(f"{path.stem}.next{path.suffix}")
    figure.savefig(beside, dpi=110)
    os.replace(beside, path)


def _number(text: str | None) -> float:
    """A gap in the curve where a value is missing ("NA") or a kill cut its line off."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")
