"""Train a VQ-VAE-2 on pictures or on spectrograms of speech, with Keras's own tools.

    python examples/train_vq_vae_2.py runs/photographs --pictures photographs
    python examples/train_vq_vae_2.py runs/cifar10 --dataset cifar10 --size 32
    python examples/train_vq_vae_2.py runs/voices --speech corpus

`--pictures` and `--speech` take a folder with train/ and valid/, as the scripts in examples/data
make them, or any folder of files, a tenth of which is kept for validation. Digits, as one grid of
7×7 codes: `--pictures digits --size 28 --channels 1 --no-mirror --levels 1 --codes 128`.

The run's folder gets the best model, a log with its curves, and after each epoch a picture of
reconstructions and one of how often each code occurs. Kill it at any time and start it again: it
goes on where it stopped.
"""

import argparse
import json
import os
import time
from pathlib import Path

import keras

import keras_sep
from keras_sep.memory import keep_freed_memory

VALIDATION_BATCHES = 16
# What may differ when a run goes on.
CHANGEABLE = ("out", "epochs", "cooldown", "jit", "tensorboard")
# One of these flags of a processor, and TensorFlow's convolutions are oneDNN's.
ONEDNN = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}


def split(folder: Path) -> list[tuple[Path, dict]]:
    """Where training and validation data lie, with the arguments that tell them apart."""
    if (folder / "valid").is_dir():
        return [(folder / "train", {}), (folder / "valid", {})]
    if (folder / "train").is_dir():
        folder = folder / "train"
    return [
        (folder, {"validation_split": 0.1, "subset": subset})
        for subset in ("training", "validation")
    ]


def pictures(options):
    """Random crops of a folder's pictures."""
    crops = {
        "crop_size": options.size,
        "batch_size": options.batch,
        "channels": options.channels,
        "mirror": options.mirror,
    }
    (train, part), (valid, other) = split(options.pictures)
    return (
        keras_sep.data.ImageCrops(train, num_batches=options.steps, **crops, **part),
        keras_sep.data.ImageCrops(
            valid, num_batches=VALIDATION_BATCHES, fixed=True, **crops, **other
        ),
    )


def speech(options):
    """Log-spectrograms of random segments of a folder's recordings."""
    crops = {
        "num_frames": options.size,
        "num_bins": options.bins or options.size,
        "batch_size": options.batch,
    }
    (train, part), (valid, other) = split(options.speech)
    return (
        keras_sep.data.SpectrogramCrops(train, num_batches=options.steps, **crops, **part),
        keras_sep.data.SpectrogramCrops(
            valid, num_batches=VALIDATION_BATCHES, fixed=True, **crops, **other
        ),
    )


def dataset(options):
    """Random crops of an image set of TensorFlow Datasets, shrunk to the crops' height or width.

    Validation is on the set's `validation`, where it has one, else on a tenth of `train`.
    """
    import tensorflow as tf

    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise SystemExit(
            "--dataset needs TensorFlow Datasets: pip install 'keras-sep[tfds]'"
        ) from None
    try:
        builder = tfds.builder(options.dataset)
    except tfds.core.DatasetNotFoundError:
        raise SystemExit(
            f"--dataset must be a set of TensorFlow Datasets, got {options.dataset}"
        ) from None
    if "image" not in builder.info.features:
        raise SystemExit(f"--dataset must be a set of images, got {options.dataset}")
    builder.download_and_prepare()
    parts = ["train", "validation"]
    if "validation" not in builder.info.splits:
        parts = ["train[10%:]", "train[:10%]"]
    size, shape = options.size, (options.size, options.size, options.channels)

    def crop(example):
        image = tf.cast(example["image"], "float32")
        if image.shape[-1] != options.channels:
            grey = options.channels == 1
            image = tf.image.rgb_to_grayscale(image) if grey else tf.image.grayscale_to_rgb(image)
        height, width = tf.unstack(tf.cast(tf.shape(image)[:2], "float32"))
        scale = size / tf.minimum(height, width)
        new = tf.maximum(tf.cast(tf.round([height * scale, width * scale]), "int32"), size)
        image = tf.image.random_crop(tf.image.resize(image, new, antialias=True), shape)
        if options.mirror:
            image = tf.image.random_flip_left_right(image)
        return image / 127.5 - 1.0

    training, validation = builder.as_dataset(split=parts)
    training = training.repeat().shuffle(1000).map(crop, tf.data.AUTOTUNE)
    validation = validation.repeat().map(crop, tf.data.AUTOTUNE).batch(options.batch, True)
    return (
        training.batch(options.batch, True).prefetch(2),
        validation.take(VALIDATION_BATCHES).cache(),
    )


class Clock(keras.callbacks.Callback):
    """Logs the seconds of each epoch: of the clock, and of all CPU cores together."""

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.time(), time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.time() - self.start[0]
        logs["cpu_seconds"] = time.process_time() - self.start[1]


def check_same_run(options):
    """Notes what a run was started with, or exits where the folder holds another run."""
    path = options.out / "config.json"
    config = {name: value for name, value in vars(options).items() if name not in CHANGEABLE}
    config = json.loads(json.dumps(config, default=str))
    options.out.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(json.dumps(config, indent=2) + "\n")
    before = json.loads(path.read_text())
    # What came later to this script counts as not given to a run begun without it.
    changed = [
        f"{name}={before.get(name)}"
        for name in dict.fromkeys([*before, *config])
        if before.get(name) != config.get(name)
    ]
    if changed:
        raise SystemExit(
            f"{options.out} holds a run with other arguments ({', '.join(changed)}); repeat them "
            "to go on, or give another folder"
        )


def build_model(options) -> keras_sep.models.VQVAE2:
    return keras_sep.models.VQVAE2(
        num_embeddings=options.codes,
        embedding_dim=options.embedding_dim,
        hidden_dim=options.hidden_dim,
        residual_dim=options.hidden_dim // 2,
        num_levels=options.levels,
        strides=options.strides,
        channels=options.channels,
        init="kmeans",
        restart_threshold=0.5,
        dtype="mixed_bfloat16" if options.mixed_precision else None,
    )


def uses_xla(jit: bool | None, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether Keras is to compile with XLA: as `jit` says, or where that is faster.

    By default TensorFlow uses oneDNN on the processors of `ONEDNN`; on one of them (2 cores,
    AVX-512 with VNNI) a step on 32 crops took 0.144 s without XLA and 0.177 with. PyTorch has none.
    """
    backend = keras.backend.backend()
    if jit is None and backend == "tensorflow" and not keras.distribution.list_devices("gpu"):
        return not (cpuinfo.exists() and ONEDNN & set(cpuinfo.read_text().split()))
    return backend != "torch" and jit is not False


def main(options) -> keras_sep.models.VQVAE2:
    if options.bins and not options.speech:
        raise SystemExit("--bins is for spectrograms: give it with --speech, or leave it out")
    if options.speech:
        options.channels, options.mirror = 1, False
    check_same_run(options)
    keras.utils.set_random_seed(options.seed)
    source = pictures if options.pictures else dataset if options.dataset else speech
    training, validation = source(options)
    model = build_model(options)
    model.compile(
        optimizer=keras.optimizers.Adam(options.learning_rate),
        loss="mse",
        jit_compile=uses_xla(options.jit),
    )
    # A tensor of TensorFlow's or an array, with other data besides or not.
    first = keras.tree.flatten(next(iter(validation)))[0]
    log = options.out / "log.csv"
    callbacks = [
        keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: setattr(training, "epoch", epoch)
        ),
        Clock(),
        keras_sep.callbacks.Cooldown(options.cooldown),
        keras_sep.callbacks.BestModel(
            options.out / "best.keras", monitor="val_reconstruction_loss", mode="min"
        ),
        keras_sep.callbacks.CodebookHistogram(options.out / "codes.png"),
        keras_sep.callbacks.ReconstructionImages(
            first[:8], options.out / "reconstructions", spectrograms=bool(options.speech)
        ),
        keras_sep.callbacks.ResumableBackup(options.out / "backup"),
        keras.callbacks.CSVLogger(log, append=True),
        keras_sep.callbacks.TrainingCurves(log, options.out / "curves.png"),
    ]
    if options.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(os.fspath(options.tensorboard)))
    model.fit(
        training,
        validation_data=validation,
        epochs=options.epochs,
        steps_per_epoch=options.steps if options.dataset else None,
        callbacks=callbacks,
    )
    return model


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the run")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pictures", type=Path, help="folder of pictures")
    source.add_argument("--dataset", help="image set of TensorFlow Datasets: cifar10, celeb_a_hq …")
    source.add_argument("--speech", type=Path, help="folder of recordings at 8 kHz")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--steps", type=int, default=300, help="batches in an epoch")
    parser.add_argument("--batch", type=int, default=32, help="pictures in a batch")
    parser.add_argument(
        "--size", type=int, default=64, help="height and width of a crop; frames and frequencies"
    )
    parser.add_argument("--bins", type=int, help="frequencies of a spectrogram, if not --size")
    parser.add_argument("--channels", type=int, default=3, choices=(1, 3))
    parser.add_argument(
        "--mirror", action=argparse.BooleanOptionalAction, default=True, help="half of the crops"
    )
    parser.add_argument("--levels", type=int, default=2, help="grids of codes")
    parser.add_argument("--strides", type=int, default=4, help="pixels from code to code below")
    parser.add_argument("--codes", type=int, default=512, help="codes of each codebook (K)")
    parser.add_argument("--embedding-dim", type=int, default=64, help="channels of a code (D)")
    parser.add_argument("--hidden-dim", type=int, default=64, help="channels of the convolutions")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument(
        "--cooldown", type=int, default=10, help="epochs at the end in which the rate falls to 0"
    )
    parser.add_argument("--mixed-precision", action="store_true", help="bfloat16 where it serves")
    parser.add_argument(
        "--jit",
        action=argparse.BooleanOptionalAction,
        help="compile with XLA (the first step is slow); by default where steps are faster",
    )
    parser.add_argument("--tensorboard", type=Path, help="folder for TensorBoard's logs")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    keep_freed_memory()
    main(parse())
