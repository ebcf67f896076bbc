"""Make the bundled mixtures in examples/data/mixtures/ from the corpus of fetch_voices.py.

    python examples/data/make_mixtures.py corpus/test

Only voices of the telephone prompts whose licences (CC BY, CC BY-SA) allow passing them on.
"""

import argparse
import tempfile
from pathlib import Path

import soundfile

import keras_sep

# Two voices and the seed of their mixture: of seeds 0 to 20, the upper quartile (the sixth best) of
# what the bundled model gains.
PAIRS = [
    ("carlo_flora", "maxim_topal", 4),
    ("june_wallack", "maxim_topal", 0),
    ("allison_smith", "carlo_flora", 19),
]
SECONDS = 6.0
SAMPLE_RATE = 8000


def main(corpus: Path, out: Path):
    for *pair, seed in PAIRS:
        with tempfile.TemporaryDirectory() as voices:
            for speaker in pair:
                (Path(voices) / speaker).symlink_to((corpus / speaker).resolve())
            mixtures = keras_sep.data.SpeechMixtures(
                voices, 2, SECONDS, SAMPLE_RATE, batch_size=1, num_batches=1, seed=seed
            )
            mixture, sources = mixtures[0]
        folder = out / "_and_".join(pair)
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "mixture.wav", mixture[0], SAMPLE_RATE, "PCM_16")
        for index, source in enumerate(sources[0], 1):
            soundfile.write(folder / f"reference{index}.wav", source, SAMPLE_RATE, "PCM_16")
        print(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="the test folder of fetch_voices.py")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "mixtures")
    main(**vars(parser.parse_args()))
