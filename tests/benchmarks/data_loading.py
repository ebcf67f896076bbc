"""How many seconds of mixture a second `SpeechMixtures` makes of a corpus, on one core.

python tests/benchmarks/data_loading.py corpus/train --segment-seconds 2 --speed 0.85 1.18
python tests/benchmarks/data_loading.py corpus/train --reverberation 0.1 0.5 --epochs 4
"""

import argparse
import time

from keras_sep.data import SpeechMixtures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--segment-seconds", type=float, default=2.0)
    parser.add_argument("--sample-rate", type=int, default=8000)
    parser.add_argument("--speed", type=float, nargs=2, metavar=("LOW", "HIGH"))
    parser.add_argument("--reverberation", type=float, nargs=2, metavar=("LOW", "HIGH"))
    parser.add_argument("--noise-folder")
    parser.add_argument("--epochs", type=int, default=1, help="the first simulates the rooms")
    parser.add_argument("--resample", action="store_true")
    args = parser.parse_args()

    start = time.perf_counter()
    mixtures = SpeechMixtures(
        args.folder,
        segment_seconds=args.segment_seconds,
        sample_rate=args.sample_rate,
        batch_size=args.batch_size,
        num_batches=args.batches,
        speed_range=args.speed and tuple(args.speed),
        reverberation_range=args.reverberation and tuple(args.reverberation),
        noise_folder=args.noise_folder,
        resample=args.resample,
    )
    print(f"{len(mixtures.speakers)} speakers, {sum(mixtures.speakers.values()) / 3600:.2f} h")
    print(f"scan: {time.perf_counter() - start:.2f} s")

    for mixtures.epoch in range(args.epochs):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in mixtures:
            pass
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        seconds = args.batches * args.batch_size * args.segment_seconds
        print(f"{seconds / wall:.0f} audio-seconds per second ({seconds / cpu:.0f} per CPU second)")


if __name__ == "__main__":
    main()
