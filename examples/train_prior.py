"""Train a PixelCNN on the codes of a VQ-VAE, so that new pictures can be drawn.

    python examples/train_prior.py runs/prior --pictures digits --labels \\
        --vq-vae saved_models/vq_vae_digits/vq_vae_digits.keras
    python examples/train_prior.py runs/top --pictures photographs --level top --attention 1 \\
        --vq-vae saved_models/vq_vae_2_photographs_64/vq_vae_2_photographs_64.keras

`--pictures` holds train/ and test/, and valid/, or else a tenth of train/ is for validation. With
`--labels` these hold a folder for each class, and whole pictures are coded; without, crops of
`--size` pixels. A level below the top one is learned given the level above.

The run's folder gets the codes, the best model, a log with its curves, and `test.json`: bits per
code on the test pictures, and the entropy of their codes' marginal distribution. Kill it at any
time and start it again: it goes on where it stopped.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from rich.progress import track
from train_vq_vae_2 import Clock, check_same_run

import keras_sep
from keras_sep.memory import keep_freed_memory

PARTS = ("train", "valid", "test")


class LabelledPictures:
    """Batches of whole pictures in -1 to 1, and the index of their class.

    Args:
        folder: Holds a folder of pictures of one size for each class.
        channels: 1 or 3.
        part: "train" or "valid" for nine tenths of the pictures or the others; None for all.
    """

    def __init__(self, folder: Path, channels: int, part: str | None = None, batch_size: int = 100):
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
        files = [(p, label) for label, n in enumerate(names) for p in sorted(folder.glob(f"{n}/*"))]
        tenth = np.random.default_rng(0).permutation(len(files)) % 10 == 0
        keep = np.ones(len(files), bool) if part is None else tenth == (part == "valid")
        self.files = [file for file, kept in zip(files, keep, strict=True) if kept]
        self.channels = channels
        self.batch_size = batch_size

    def __len__(self):
        return -(-len(self.files) // self.batch_size)

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        files = self.files[index * self.batch_size : (index + 1) * self.batch_size]
        mode = "grayscale" if self.channels == 1 else "rgb"
        images = [
            keras.utils.img_to_array(keras.utils.load_img(path, color_mode=mode))
            for path, _ in files
        ]
        labels = np.array([label for _, label in files], "int32")
        return np.stack(images) / 127.5 - 1, labels


def pictures(options, part: str, channels: int):
    folder, of_train = options.pictures / part, {}
    if part != "test" and not (options.pictures / "valid").is_dir():
        folder, of_train = options.pictures / "train", {"part": part}
    if options.labels:
        return LabelledPictures(folder, channels, **of_train)
    number = {"train": options.crops, "valid": 1024, "test": 2048}[part]
    if of_train:
        subset = {"train": "training", "valid": "validation"}[part]
        of_train = {"validation_split": 0.1, "subset": subset}
    return keras_sep.data.ImageCrops(
        folder,
        options.size,
        32,
        number // 32,
        channels,
        mirror=part == "train",
        fixed=True,
        **of_train,
    )


def codes_of(options, model, part: str) -> dict:
    """Inputs of the prior, from the codes on disk; extracts them first.

    Codes are small, and read anew in each epoch they would take longer than a step.
    """
    path = options.out / "codes" / part
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        keras_sep.data.extract_codes(model, pictures(options, part, model.channels), path, part)
    level = options.level or model.level_names[-1]
    grids = keras_sep.data.CodeGrids(path, 256, part, shuffle=False, level=level)
    reading = track(range(len(grids)), f"{part} codes", transient=True)
    batches = [grids[index][0] for index in reading]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def build_model(options, vq_vae, labels) -> keras_sep.models.PixelCNN:
    level = vq_vae.level_names.index(options.level or vq_vae.level_names[-1])
    return keras_sep.models.PixelCNN(
        vq_vae.num_embeddings,
        filters=options.filters,
        num_layers=options.layers,
        kernel_size=options.kernel_size,
        first_kernel_size=options.first_kernel_size,
        num_attention_layers=options.attention,
        num_classes=None if labels is None else int(labels.max()) + 1,
        condition_num_embeddings=vq_vae.num_embeddings if level else None,
        dropout=options.dropout,
    )


def marginal_entropy(codes) -> float:
    """Entropy of how often each code occurs, in bits: what codes cost that know no others."""
    p = np.bincount(codes.reshape(-1)) / codes.size
    return float(np.sum(p[p > 0] * np.log2(1 / p[p > 0])))


def main(options) -> dict:
    check_same_run(options)
    keras.utils.set_random_seed(options.seed)
    vq_vae = keras.saving.load_model(options.vq_vae, compile=False)
    data = {part: codes_of(options, vq_vae, part) for part in PARTS}
    model = build_model(options, vq_vae, data["train"].get("labels"))
    steps = len(data["train"]["codes"]) // options.batch * options.epochs
    warm_up = min(200, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=options.learning_rate, warmup_steps=warm_up
    )
    model.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        jit_compile=options.jit and keras.backend.backend() != "torch",
    )
    log = options.out / "log.csv"
    monitor = {"monitor": "val_bits_per_dimension", "mode": "min"}
    model.fit(
        data["train"],
        validation_data=(data["valid"], None),
        batch_size=options.batch,
        epochs=options.epochs,
        callbacks=[
            Clock(),
            keras_sep.callbacks.BestModel(options.out / "best.keras", **monitor),
            keras_sep.callbacks.ResumableBackup(options.out / "backup"),
            keras.callbacks.CSVLogger(log, append=True),
            keras_sep.callbacks.TrainingCurves(log, options.out / "curves.png"),
        ],
    )
    best = keras.saving.load_model(options.out / "best.keras", compile=False)
    best.compile()
    bits = best.evaluate(data["test"], verbose=0, return_dict=True)
    scores = {
        "examples": len(data["test"]["codes"]),
        "bits_per_code": bits["bits_per_dimension"],
        "marginal_entropy": marginal_entropy(data["test"]["codes"]),
    }
    (options.out / "test.json").write_text(json.dumps(scores, indent=2) + "\n")
    print(json.dumps(scores, indent=2))
    return scores


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the run")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--vq-vae", type=Path, required=True, help=".keras file of the VQ-VAE")
    parser.add_argument("--level", help="of the codes: top, middle, bottom; without, the last")
    parser.add_argument("--labels", action="store_true", help="condition on classes, by folder")
    parser.add_argument("--size", type=int, default=64, help="height and width of a crop")
    parser.add_argument("--crops", type=int, default=8192, help="to train on, without --labels")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--filters", type=int, default=64, help="channels of a stack (p)")
    parser.add_argument("--layers", type=int, default=8, help="gated blocks")
    parser.add_argument("--kernel-size", type=int, default=3)
    parser.add_argument("--first-kernel-size", type=int, default=5)
    parser.add_argument("--attention", type=int, default=0, help="layers of self-attention")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument(
        "--jit",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compile with XLA: steps are faster, the first one is slow",
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    keep_freed_memory()
    main(parse())
