"""Train a MobileNet on images by class: your own, or a set of TensorFlow Datasets.

    python examples/train_mobilenet.py --folder pictures --out runs/pictures --flip
    python examples/train_mobilenet.py --dataset cifar10 --out runs/cifar10 --size 32 --flip

`pictures` holds <class>/*.{jpg,png,gif,bmp}, of which a tenth is kept for validation and a tenth
for the test, or train/<class>/ and test/<class>/. Kill it at any time and start it again: it goes
on where it stopped. `--out` receives best.keras, log.csv, curves.png, test.json, confusion.png.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import tensorflow as tf
from classifier_training import (
    check_same_run,
    compile_classifier,
    fit_classifier,
    score_classifier,
)
from rich.progress import track

import keras_sep
from keras_sep.memory import keep_freed_memory

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png"}
IN_MEMORY = 1 << 30  # bytes
# Pixels along an axis. On a CPU images of 32² train faster with XLA, those of 224² slower.
MAX_XLA_SIZE = 64


@dataclass
class Images:
    """Datasets of images 0 … 255, of any size and with 1 or 3 channels, and class indices."""

    training: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    class_names: list[str]


def from_folder(folder: Path, seed: int) -> Images:
    """Images by class; the same parts for the same files and seed."""
    is_split = (folder / "train").is_dir() and (folder / "test").is_dir()
    root = folder / "train" if is_split else folder
    names = folders_in(root)
    if len(names) < 2:
        raise SystemExit(f"{root} must hold a folder of images for each of two or more classes")
    if is_split and (different := set(names) ^ set(folders_in(folder / "test"))):
        raise SystemExit(
            f"{root} and {folder / 'test'} must hold the same classes; only one of them has "
            f"{', '.join(sorted(different))}"
        )
    rng, parts = np.random.default_rng(seed), {"training": [], "validation": [], "test": []}
    for label, name in enumerate(names):
        files = [(path, label) for path in image_files(root / name, at_least=3)]
        files = [files[index] for index in rng.permutation(len(files))]
        held = -(-len(files) // 10)
        if is_split:
            tests = image_files(folder / "test" / name, at_least=1)
            parts["test"] += [(path, label) for path in tests]
        else:
            parts["test"] += files[held : 2 * held]
        parts["validation"] += files[:held]
        parts["training"] += files[held if is_split else 2 * held :]
    check_images([path for part in parts.values() for path, _ in part])
    return Images(**{part: read(files) for part, files in parts.items()}, class_names=names)


def folders_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*") if path.is_dir())


def image_files(folder: Path, at_least: int) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(files) < at_least:
        raise SystemExit(f"{folder} must hold {at_least} or more images, got {len(files)}")
    return files


def check_images(paths: list[Path]) -> None:
    """Exits with the name of the first file that is no image, before anything is trained."""
    for path in track(paths, "images"):
        try:
            PIL.Image.open(path).close()  # reads no more than the header
        except OSError:
            raise SystemExit(f"{path} is no image that can be read; remove it") from None


def read(files: list[tuple[Path, int]]) -> tf.data.Dataset:
    paths, labels = [str(path) for path, _ in files], [label for _, label in files]

    def load(path, label):
        encoded = tf.io.read_file(path)
        return tf.io.decode_image(encoded, channels=3, expand_animations=False), label

    return tf.data.Dataset.from_tensor_slices((paths, labels)).map(load, tf.data.AUTOTUNE)


def from_tfds(name: str) -> Images:
    """A labelled set of TensorFlow Datasets.

    The test part is the set's `validation`, where it has one (ImageNet's `test` has no labels),
    else its `test`, else a tenth of its `train`; validation is on a tenth of `train`.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise SystemExit(
            "--dataset needs TensorFlow Datasets: pip install 'keras-sep[tfds]'"
        ) from None
    try:
        builder = tfds.builder(name)
    except tfds.core.DatasetNotFoundError:
        raise SystemExit(f"--dataset must be a set of TensorFlow Datasets, got {name}") from None
    if builder.info.supervised_keys != ("image", "label"):
        raise SystemExit(f"--dataset must be a set of images with one label each, got {name}")
    try:
        builder.download_and_prepare()
    except AssertionError as error:  # of a set whose archives are downloaded by hand
        raise SystemExit(f"{name}: {' '.join(str(error).split())}") from None
    held = [part for part in ("validation", "test") if part in builder.info.splits]
    training, test = ("train[20%:]", "train[10%:20%]") if not held else ("train[10%:]", held[0])
    splits = builder.as_dataset(split=[training, "train[:10%]", test], as_supervised=True)
    return Images(*splits, class_names=builder.info.features["label"].names)


def batches(
    images: Images, size: int, batch_size: int, augmentation: list[keras.Layer], seed: int
) -> Iterator[tf.data.Dataset]:
    """Batches for training, validation and test: images `(batch, size, size, 3)`, one-hot labels.

    The pictures change in the input pipeline, which TensorFlow runs under every backend, beside
    the training; as layers of the model they would be slow on a CPU with the other backends.
    """
    resizing = keras.layers.Resizing(size, size, antialias=True, crop_to_aspect_ratio=True)

    def resize(image, label):
        image = tf.repeat(image, 3, -1) if image.shape[-1] == 1 else image
        image.set_shape((None, None, 3))
        return tf.cast(tf.round(resizing(image)), tf.uint8), tf.one_hot(
            label, len(images.class_names)
        )

    def augment(batch, labels):
        batch = tf.cast(batch, tf.float32)
        for layer in augmentation:
            batch = layer(batch, training=True)
        return batch, labels

    for part in (images.training, images.validation, images.test):
        resized = part.map(resize, tf.data.AUTOTUNE)
        if len(part) * size * size * 3 < IN_MEMORY:
            resized = resized.cache()
        if part is not images.training:
            yield resized.batch(batch_size).prefetch(2)
            continue
        shuffled = resized.shuffle(min(len(part), 10_000), seed)
        whole = shuffled.batch(batch_size, drop_remainder=len(part) >= batch_size)
        yield whole.map(augment, tf.data.AUTOTUNE).prefetch(2)


def augmentation_of(flip: bool, seed: int) -> list[keras.Layer]:
    """Small turns, shifts, zooms and, where a mirrored image is of the same class, mirroring."""
    options = {"fill_mode": "nearest", "seed": seed}
    layers = [
        keras.layers.RandomRotation(0.05, **options),
        keras.layers.RandomTranslation(0.1, 0.1, **options),
        keras.layers.RandomZoom((-0.15, 0.15), (-0.15, 0.15), **options),
    ]
    if flip:
        layers.append(keras.layers.RandomFlip("horizontal", seed=seed))
    return layers


def main(
    folder: Path | None,
    dataset: str | None,
    out: Path,
    version: str,
    alpha: float,
    size: int,
    output_stride: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    warm_up: int,
    label_smoothing: float,
    flip: bool,
    mixed_precision: bool,
    jit: bool | None,
    seed: int,
) -> float:
    options = dict(locals())
    if not 0 <= warm_up < epochs:
        raise SystemExit(f"--warm-up must be from 0 to {epochs - 1} epochs, got {warm_up}")
    images = from_folder(folder, seed) if folder else from_tfds(dataset)
    check_same_run(
        out, {name: value for name, value in options.items() if name not in ("out", "jit")}
    )
    keras.utils.set_random_seed(seed)
    model = keras_sep.models.MobileNet(
        version,
        alpha,
        input_shape=(size, size, 3),
        num_classes=len(images.class_names),
        include_preprocessing=True,
        output_stride=output_stride,
        dtype="mixed_bfloat16" if mixed_precision else None,
    )
    if jit is None:
        jit = size <= MAX_XLA_SIZE
    training, validation, test = batches(
        images, size, batch_size, augmentation_of(flip, seed), seed
    )
    compile_classifier(model, len(training), epochs, learning_rate, warm_up, label_smoothing, jit)
    best = fit_classifier(model, training, validation, epochs, out)
    return score_classifier(best, test, images.class_names, out)


if __name__ == "__main__":
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", type=Path, help="images by class")
    source.add_argument("--dataset", help="cifar10, tf_flowers, imagenet2012, …")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--version", default="v1", help="v1, v2, v3_small or v3_large")
    parser.add_argument("--alpha", type=float, default=0.25, help="width of the network")
    parser.add_argument("--size", type=int, default=96, help="images are made size × size")
    parser.add_argument(
        "--output-stride",
        type=int,
        default=32,
        help="image to map; less for small images",
    )
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="the highest")
    parser.add_argument("--warm-up", type=int, default=2, help="epochs until the rate is reached")
    parser.add_argument("--label-smoothing", type=float, default=0.1)
    parser.add_argument("--flip", action="store_true", help="mirror images; not for digits or text")
    parser.add_argument("--mixed-precision", action="store_true", help="bfloat16 where it is safe")
    parser.add_argument(
        "--jit",
        action=argparse.BooleanOptionalAction,
        help="on TensorFlow: compile with XLA, by default up to --size 64: small images train "
        "faster, large ones slower, the first step is slow",
    )
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
