"""A picture of how much of each codebook is in use."""

import os
from pathlib import Path

import keras
import numpy as np


class CodebookHistogram(keras.callbacks.Callback):
    """Draws how often each code occurred, after each epoch: a PNG, one panel a codebook.

    The codes are sorted from the most frequent on. Those of the epoch's validation data are
    counted, or of its training data where there is none.

    Args:
        path: The picture, written beside and renamed.

    Raises:
        ValueError: At the start of training, the model has no `quantizers`.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        self.path = Path(path)

    def on_train_begin(self, logs=None):
        if not getattr(self.model, "quantizers", None):
            raise ValueError(
                "model must have quantizers, as VQVAE and VQVAE2 do, got "
                f"{type(self.model).__name__}"
            )

    def on_epoch_end(self, epoch, logs=None):
        counts = {
            quantizer.name: keras.ops.convert_to_numpy(quantizer.usage.counts)
            for quantizer in self.model.quantizers
        }
        draw_histograms(counts, self.path)


def draw_histograms(counts: dict[str, np.ndarray], path: Path) -> None:
    """Draws counts `(num_codes,)` of codebooks by name, written beside and renamed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6 * len(counts)), layout="constrained")
    panels = figure.subplots(len(counts), squeeze=False)[:, 0]
    for axis, (name, codes) in zip(panels, counts.items(), strict=True):
        shares = np.sort(codes)[::-1] / max(codes.sum(), 1)
        axis.bar(np.arange(len(shares)), 100 * shares, width=1.0)
        used = np.count_nonzero(shares)
        axis.set(xlabel="code, by frequency", ylabel="% of vectors", xlim=(-0.5, len(shares) - 0.5))
        axis.set_title(f"{name}: {used} of {len(shares)} codes in use")
    beside = path.with_name(f"{path.stem}.next{path.suffix}")
    figure.savefig(beside, dpi=110)
    os.replace(beside, path)
