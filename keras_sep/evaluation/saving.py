"""Single examples as WAV files, to be listened to."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_sep.evaluation.example import Example
from keras_sep.evaluation.results import Evaluation


def save_examples(
    separator,
    data: Sequence[Example],
    evaluation: Evaluation,
    indices: Iterable[int],
    folder: str | os.PathLike,
) -> None:
    """Separates examples again and writes them, beside and then renamed into place.

    `<folder>/<index>/` gets `mixture.wav`, and `reference1.wav`, `estimate1.wav` and so on, the
    estimates in the order of the references; 32-bit floats, which do not clip.

    Args:
        separator: The `Separator` that was evaluated.
        data: What it was evaluated on.
        evaluation: What came out.
        indices: Of examples that have scores.
        folder: The folder to make.

    Raises:
        OSError: `folder` exists with something in it, or cannot be written.
    """
    import soundfile

    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
        written = Path(beside) / folder.name
        for index in indices:
            place = written / str(index)
            place.mkdir(parents=True)
            example = data[index]
            estimates = separator.separate(example.mixture)[evaluation.mixtures[index].order]
            waveforms = {"mixture": example.mixture}
            for number, pair in enumerate(zip(example.sources, estimates, strict=True), 1):
                waveforms[f"reference{number}"], waveforms[f"estimate{number}"] = pair
            for name, waveform in waveforms.items():
                soundfile.write(place / f"{name}.wav", waveform, separator.sample_rate, "FLOAT")
        written.rename(folder)
