"""Train a Conv-TasNet with Keras's own tools; `keras-sep train` does the same with more options.

    python examples/train_conv_tasnet.py corpus runs/first

`corpus` holds train/<speaker>/ and valid/<speaker>/, as examples/data/fetch_voices.py makes them.
Kill it at any time and start it again: it goes on where it stopped.
"""

import argparse
from pathlib import Path

import keras

import keras_sep
from keras_sep.memory import keep_freed_memory
from keras_sep.xla_flags import without_ynnpack


def main(corpus: Path, out: Path, epochs: int, steps: int, segment_seconds: float):
    mixing = {"num_sources": 2, "segment_seconds": segment_seconds, "batch_size": 8}
    training = keras_sep.data.SpeechMixtures(
        corpus / "train", num_batches=steps, speed_range=(0.85, 1.18), **mixing
    )
    validation = keras_sep.data.SpeechMixtures(
        corpus / "valid", num_batches=25, fixed=True, **mixing
    )
    # A thirteenth of the paper's size: what two CPU cores train in hours.
    model = keras_sep.models.ConvTasNet(
        num_sources=2,
        sample_rate=8000,
        filters=256,
        kernel_size=32,
        bottleneck_dim=64,
        hidden_dim=128,
        skip_dim=64,
        num_blocks=6,
        num_repeats=2,
    )
    model.build((None, None))
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3, global_clipnorm=5.0),
        loss=keras_sep.losses.PermutationInvariant(keras_sep.losses.SISNR()),
        metrics=[keras_sep.metrics.SISNRImprovement()],
        jit_compile=keras.backend.backend() != "torch",
    )
    out.mkdir(parents=True, exist_ok=True)
    best = {"monitor": "val_si_snr_improvement", "mode": "max"}
    reduce_rate = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=3, **best)
    stop_early = keras.callbacks.EarlyStopping(patience=10, **best)
    model.fit(
        training,
        validation_data=validation,
        epochs=epochs,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: setattr(training, "epoch", epoch)
            ),
            reduce_rate,
            stop_early,
            keras_sep.callbacks.BestModel(out / "best.keras"),
            keras_sep.callbacks.ResumableBackup(out / "backup", [reduce_rate, stop_early]),
            keras.callbacks.CSVLogger(out / "log.csv", append=True),
            keras_sep.callbacks.TrainingCurves(out / "log.csv", out / "curves.png"),
        ],
    )


if __name__ == "__main__":
    keep_freed_memory()
    without_ynnpack()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=500, help="batches in an epoch")
    parser.add_argument("--segment-seconds", type=float, default=2.0)
    main(**vars(parser.parse_args()))
