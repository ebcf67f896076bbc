"""Make a bundled model from a finished run: `.keras`, scores, pictures and model card.

    python examples/bundle_vq_vae_2.py runs/photographs photographs/test \\
        saved_models/vq_vae_2_photographs_64 --data photographs

Scores it on 2,048 crops of the pictures in the folder, which the run must not have seen.
"""

import argparse
import csv
import json
import math
import shutil
import textwrap
from pathlib import Path

import keras

from keras_sep.callbacks.codebook_histogram import draw_histograms
from keras_sep.callbacks.reconstruction_images import draw_pairs
from keras_sep.data import ImageCrops

BATCH, TEST_BATCHES, SHOWN = 32, 64, 16

PAPERS = (
    "van den Oord et al. 2017, arXiv 1711.00937",
    "Razavi et al. 2019, arXiv 1906.00446",
)

DATA = {
    "photographs": """`examples/data/fetch_photographs.py`: 25 photographs from Debian's wallpapers,
16 to train on, 4 for validation, 5 for the test (`examples/data/PHOTOGRAPHS.md` lists them with
licences and credits). Random crops of {size}×{size} pixels at the pictures' own resolution, 1 to 16
megapixels, so that many a crop is smooth; each picture as often as any other; half of them
mirrored.""",
    "digits": """`examples/data/fetch_digits.py`: 10,000 handwritten digits of {size}×{size} pixels,
80 % to train on, of which a tenth is for validation, and 20 % for the test
(`examples/data/DIGITS.md` says whose they are).""",
}

LIMITS = {
    "photographs": """Sixteen photographs, mostly of plants, landscapes and things at hand, and
minutes of training: hardly a face, a text or a house was among them. The table by picture shows
how far apart crops are that look like what it has seen and such as do not, as the saturated
colours of paint brushes. The error is that of pictures at full camera resolution; the same
pictures made small have more detail in a crop, and a larger error.""",
    "digits": """Digits only, white on black, centred as in MNIST; other strokes than those of
digits come out as the nearest that digits have.""",
}

CARD = """# {name}

{grids}. A {kind} ({paper}) of {parameters:,} parameters: K {num_embeddings}, D {embedding_dim},
{hidden_dim} hidden channels, {residual_dim} in {num_residual_blocks} residual blocks, strides
{strides}, EMA codebooks (decay {ema_decay}) set by k-means on the first batch, codes with fewer
than {restart_threshold} vectors a batch restarted.

```python
model = keras.saving.load_model("saved_models/{name}/{name}.keras")
codes = model.encode(images)  # images in -1 to 1; a list of grids, the coarsest first
keras_sep.export.export_saved_model(model, "served/{name}/1")  # encode, decode, reconstruct
```

## Data

{data}

## Training

`examples/train_vq_vae_2.py` with TensorFlow on 2 CPU cores: {steps:,} steps of {batch} crops, Adam
at {learning_rate}, falling to 0 over the last {cooldown} of {epochs} epochs; {cpu_minutes:.0f}
minutes of CPU time, {minutes:.0f} on the clock of a machine that did other things too. The best
epoch by reconstruction of {valid} fixed validation crops is kept: epoch {epoch}, MSE {best:.5f}.
`log.csv` has the curve.

## Scores

Pixels in -1 to 1; {crops:,} random crops of the test pictures; bits a pixel are those of codes of
equal length.

{scores}

{pictures}Test crops above their reconstructions, chosen by seed, not by look:

![crops and reconstructions](reconstructions.png)

How often each code occurs in the test crops:

![histogram of codes](codes.png)

## Licence

The weights are under Apache-2.0, as the package. {licence}

## Limits

{limits}
"""

LICENCE = {
    "photographs": "The photographs have licences of their own\n(`examples/data/PHOTOGRAPHS.md`); "
    "`reconstructions.png` shows small parts of Blinds (© 2008 Lennart\nPoettering, Andrea Cimitan)"
    " and GreenMeadow (© 2005 Timothy Schellhase, 2008 Lapo Calamandrei), both\nGPL-2+, Picture_1A "
    '(© 2018 Trevor "Freespace") and Wine (© 2018 Jakub Mede), both CC BY 4.0, and\ngreentock '
    "(© 2018 Peter Nerlich, CC BY-SA 4.0), and is under the same terms.",
    "digits": "`reconstructions.png` shows digits of the set\n(`examples/data/DIGITS.md`).",
}


def crops_of(folder: Path, size: int, config: dict, batches: int) -> ImageCrops:
    arguments = {name: config[name] for name in ("channels", "mirror")}
    return ImageCrops(folder, size, BATCH, batches, fixed=True, **arguments)


def score(model, crops: ImageCrops) -> tuple[dict, dict]:
    """MSE, and perplexity and usage of the codebooks; how often each code occurs."""
    model.compile(loss="mse")
    logs = model.evaluate(crops, return_dict=True, verbose=0)
    counts = {
        quantizer.name: keras.ops.convert_to_numpy(quantizer.usage.counts)
        for quantizer in model.quantizers
    }
    scores = {"size": crops.crop_size, "crops": BATCH * len(crops)}
    scores["mse"] = logs["reconstruction_loss"]
    for name in model.level_names:
        scores[f"{name}_usage"] = logs[f"{name}_usage"]
        scores[f"{name}_perplexity"] = logs[f"{name}_perplexity"]
    lengths = (crops.crop_size,) * 2
    scores["bits_per_pixel"] = 8 * crops.channels / model.compression_ratio(lengths)
    return scores, counts


def score_pictures(model, folder: Path, config: dict) -> dict:
    """MSE of 256 crops of each picture."""
    crops = crops_of(folder, config["size"], config, 8)
    errors = {}
    for path in crops.paths:
        crops.paths = [path]
        logs = model.evaluate(crops, return_dict=True, verbose=0)
        errors[path.name] = logs["reconstruction_loss"]
    return errors


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def scores_table(model, rows: list[dict]) -> str:
    header = ["crops", "MSE", "PSNR", "bits a pixel"]
    header += [f"{name}: in use, perplexity" for name in model.level_names]
    return table(
        header,
        [
            [
                f"{row['size']}×{row['size']}",
                f"{row['mse']:.5f}",
                f"{10 * math.log10(4 / row['mse']):.1f} dB",
                f"{row['bits_per_pixel']:.2f}",
                *[
                    f"{row[f'{name}_usage']:.0%}, {row[f'{name}_perplexity']:.0f}"
                    for name in model.level_names
                ],
            ]
            for row in rows
        ],
    )


def reflowed(card: str) -> str:
    """The card with its paragraphs broken at 100 characters; code, tables and pictures stay."""

    def wrapped(block: str) -> str:
        if block.startswith(("#", "|", "```", "![")):
            return block
        return textwrap.fill(block, 100, break_long_words=False, break_on_hyphens=False)

    return "\n\n".join(wrapped(block) for block in card.strip().split("\n\n")) + "\n"


def main(run: Path, test: Path, bundle: Path, data: str, cooldown: int):
    config = json.loads((run / "config.json").read_text())
    with open(run / "log.csv", newline="") as file:
        log = list(csv.DictReader(file))
    best = json.loads((run / "best.json").read_text())
    model = keras.saving.load_model(run / "best.keras", compile=False)
    bundle.mkdir(parents=True)
    model.save(bundle / f"{bundle.name}.keras")
    for name in ("log.csv", "config.json"):
        shutil.copyfile(run / name, bundle / name)

    sizes = [config["size"], 2 * config["size"]] if data == "photographs" else [config["size"]]
    results = [score(model, crops_of(test, size, config, TEST_BATCHES)) for size in sizes]
    rows = [row for row, _ in results]
    draw_histograms(results[0][1], bundle / "codes.png")
    (images,) = crops_of(test, config["size"], config, 1)[0]
    reconstructions = keras.ops.convert_to_numpy(model.reconstruct(images[:SHOWN]))
    draw_pairs(images[:SHOWN], reconstructions, bundle / "reconstructions.png")
    pictures = ""
    scores = {"crops": rows}
    if data == "photographs":
        scores["pictures"] = score_pictures(model, test, config)
        errors = [[name, f"{error:.5f}"] for name, error in scores["pictures"].items()]
        pictures = "By picture:\n\n" + table(["picture", "MSE"], errors) + "\n\n"
    (bundle / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")

    shapes = [f"{rows}×{columns}" for rows, columns in model.code_shapes((config["size"],) * 2)]
    size, kind = config["size"], "colour" if config["channels"] == 3 else "grey"
    text = {
        **config,
        **model.get_config(),
        "name": bundle.name,
        "grids": f"{kind.capitalize()} pictures of {size}×{size} pixels as {' and '.join(shapes)} "
        "codes, and back (larger ones as more codes)",
        "kind": "VQ-VAE-2" if len(shapes) > 1 else "VQ-VAE",
        "paper": PAPERS[len(shapes) > 1],
        "parameters": model.count_params(),
        "data": DATA[data].format(size=size),
        "steps": len(log) * config["steps"],
        "epochs": len(log),
        "cooldown": cooldown,
        "cpu_minutes": sum(float(row["cpu_seconds"]) for row in log) / 60,
        "minutes": sum(float(row["seconds"]) for row in log) / 60,
        "valid": 16 * config["batch"],
        "epoch": best["epoch"],
        "best": best["val_reconstruction_loss"],
        "crops": rows[0]["crops"],
        "scores": scores_table(model, rows),
        "pictures": pictures,
        "licence": LICENCE[data],
        "limits": LIMITS[data],
    }
    (bundle / "README.md").write_text(reflowed(CARD.format(**text)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("test", type=Path, help="folder of test pictures")
    parser.add_argument("bundle", type=Path, help="folder to make")
    parser.add_argument("--data", choices=DATA, required=True, help="what the run was trained on")
    parser.add_argument("--cooldown", type=int, default=10, help="as it was given to the training")
    main(**vars(parser.parse_args()))
