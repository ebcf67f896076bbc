"""Make a bundled model from a finished run: `.keras`, scores, pictures and model card.

    python examples/bundle_vq_vae_2.py runs/photographs photographs/test \\
        saved_models/vq_vae_2_photographs_64 --data photographs
    python examples/bundle_vq_vae_2.py runs/voices corpus/test saved_models/vq_vae_speech_8k \\
        --data speech --unseen corpus/unseen

Scores it on 2,048 crops of the pictures or recordings in the folder, which the run must not have
seen.
"""

import argparse
import json
import math
import shutil
import textwrap
from pathlib import Path

import keras
import numpy as np
from bundling import config_of, new_folder, read_log, write_json

from keras_sep.callbacks.codebook_histogram import draw_histograms
from keras_sep.callbacks.reconstruction_images import draw_pairs
from keras_sep.data import ImageCrops, SpectrogramCrops

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
    "speech": """`examples/data/fetch_voices.py`: 39 voices in 20-odd languages, telephone prompts,
a game's actors and spoken words from Debian's packages, 312 minutes to train on
(`examples/data/VOICES.md` lists voices, licences and credits). Levels in dB of random segments of
{seconds:.2f} s at {sample_rate} Hz: {frames} frames, {hop} samples apart, of {bins} frequencies
({window} samples under a Hann window, the highest frequency left out), silent segments left out.
-1 is -100 dB and less, 1 is 0 dB, a sine that fills the scale.""",
}

LIMITS = {
    "photographs": """Sixteen photographs, mostly of plants, landscapes and things at hand, and
minutes of training: hardly a face, a text or a house was among them. The table by picture shows
how far apart crops are that look like what it has seen and such as do not, as the saturated
colours of paint brushes. The error is that of pictures at full camera resolution; the same
pictures made small have more detail in a crop, and a larger error.""",
    "digits": """Digits only, white on black, centred as in MNIST; other strokes than those of
digits come out as the nearest that digits have.""",
    "speech": """Levels only: phases must come from elsewhere to hear the codes, as by the
Griffin-Lim iterations of `examples/continue_speech.py`. The error counts every frequency of every
frame alike, the noise below the voice too, which no code can foresee, and says little of how the
speech sounds; nobody listened. Few voices, clean and close to the microphone: music and noise were
not among them.""",
}

SCORED = {
    "photographs": "Pixels in -1 to 1; {crops:,} random crops of the test pictures; bits a pixel "
    "are those of codes of equal length.",
    "speech": "{crops:,} random segments of each row's recordings. MSE is that of levels in -1 to "
    "1, the error its root in dB; bits a second are those of codes of equal length.{voices}",
}
SCORED["digits"] = SCORED["photographs"]

VOICES = (
    " `test` holds new recordings of the voices it was trained on, `unseen` voices it never heard."
)

SHOWN_ABOVE = {
    "photographs": "Test crops above their reconstructions, chosen by seed, not by look",
    "speech": "Test segments above their reconstructions, time to the right and frequencies "
    "upwards, chosen by seed, not by look",
}
SHOWN_ABOVE["digits"] = SHOWN_ABOVE["photographs"]

CARD = """# {name}

{grids}. A {kind} ({paper}) of {parameters:,} parameters: K {num_embeddings}, D {embedding_dim},
{hidden_dim} hidden channels, {residual_dim} in {num_residual_blocks} residual blocks, strides
{strides}, EMA codebooks (decay {ema_decay}) set by k-means on the first batch, codes with fewer
than {restart_threshold} vectors a batch restarted.

```python
model = keras.saving.load_model("saved_models/{name}/{name}.keras")
codes = model.encode({inputs})  # {range}; a list of grids, the coarsest first
keras_sep.export.export_saved_model(model, "served/{name}/1")  # encode, decode, reconstruct
```

## Data

{data}

## Training

`examples/train_vq_vae_2.py` with {trained_on}: {steps:,} steps of {batch} crops, Adam
at {learning_rate}, falling to 0 over the last {cooldown} of {epochs} epochs; {cpu_minutes:.0f}
minutes of CPU time, {minutes:.0f} on the clock of a machine that did other things too. The best
epoch by reconstruction of {valid} fixed validation crops is kept: epoch {epoch}, MSE {best:.5f}.
`log.csv` has the curve.

## Scores

{scored}

{scores}

{pictures}{shown_above}:

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
    "speech": "The recordings have licences of their own\n(`examples/data/VOICES.md`).",
}


def crops_of(folder: Path, size: int, config: dict, batches: int) -> ImageCrops:
    arguments = {name: config[name] for name in ("channels", "mirror")}
    return ImageCrops(folder, size, BATCH, batches, fixed=True, **arguments)


def spectrograms_of(folder: Path, config: dict, batches: int) -> SpectrogramCrops:
    frames, bins = lengths_of(config)
    return SpectrogramCrops(folder, frames, bins, batch_size=BATCH, num_batches=batches, fixed=True)


def lengths_of(config: dict) -> tuple[int, int]:
    """Height and width of what the run was trained on."""
    return config["size"], config.get("bins") or config["size"]


def score(model, crops) -> tuple[dict, dict]:
    """MSE, and perplexity and usage of the codebooks; how often each code occurs."""
    model.compile(loss="mse")
    logs = model.evaluate(crops, return_dict=True, verbose=0)
    counts = {
        quantizer.name: keras.ops.convert_to_numpy(quantizer.usage.counts)
        for quantizer in model.quantizers
    }
    scores = {"crops": BATCH * len(crops), "mse": logs["reconstruction_loss"]}
    for name in model.level_names:
        scores[f"{name}_usage"] = logs[f"{name}_usage"]
        scores[f"{name}_perplexity"] = logs[f"{name}_perplexity"]
    return scores, counts


def score_crops(model, test: Path, data: str, config: dict) -> tuple[list[dict], dict]:
    """Scores of crops of the size trained on, of photographs of another too; counts of codes."""
    size = config["size"]
    sizes = [size]
    if data == "photographs":
        sizes.append(size // 2 if size > 64 else 2 * size)
    results = [score(model, crops_of(test, size, config, TEST_BATCHES)) for size in sizes]
    for size, (scores, _) in zip(sizes, results, strict=True):
        scores["size"] = size
        scores["bits_per_pixel"] = 8 * model.channels / model.compression_ratio((size, size))
    return [scores for scores, _ in results], results[0][1]


def score_segments(model, folders: list[Path], config: dict) -> tuple[list[dict], dict]:
    """Scores of each folder's recordings; counts of codes in the first."""
    results = []
    for folder in folders:
        crops = spectrograms_of(folder, config, TEST_BATCHES)
        scores, counts = score(model, crops)
        bits = math.log2(model.num_embeddings)
        codes = sum(math.prod(shape) for shape in model.code_shapes(lengths_of(config)))
        scores["voices"] = folder.name
        scores["error_db"] = 50 * math.sqrt(scores["mse"])
        seconds = crops.num_frames * crops.hop / crops.sample_rate
        scores["bits_per_second"] = codes * bits / seconds
        results.append((scores, counts))
    return [scores for scores, _ in results], results[0][1]


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
    header = ["voices", "MSE", "error", "bits a second"]
    if "size" in rows[0]:
        header = ["crops", "MSE", "PSNR", "bits a pixel"]
    header += [f"{name}: in use, perplexity" for name in model.level_names]
    return table(header, [cells(model, row) for row in rows])


def cells(model, row: dict) -> list[str]:
    mse = f"{row['mse']:.5f}"
    if "size" in row:
        first = [f"{row['size']}×{row['size']}", mse, f"{10 * math.log10(4 / row['mse']):.1f} dB"]
        first.append(f"{row['bits_per_pixel']:.2f}")
    else:
        first = [row["voices"], mse, f"{row['error_db']:.1f} dB", f"{row['bits_per_second']:,.0f}"]
    return first + [
        f"{row[f'{name}_usage']:.0%}, {row[f'{name}_perplexity']:.0f}" for name in model.level_names
    ]


def reflowed(card: str) -> str:
    """The card with its paragraphs broken at 100 characters; code, tables and pictures stay."""

    def wrapped(block: str) -> str:
        if block.startswith(("#", "|", "```", "![")):
            return block
        return textwrap.fill(block, 100, break_long_words=False, break_on_hyphens=False)

    return "\n\n".join(wrapped(block) for block in card.strip().split("\n\n")) + "\n"


def upright(spectrograms):
    """Spectrograms `(batch, frames, bins, 1)` as pictures: frequencies upwards."""
    return np.flip(np.swapaxes(spectrograms, 1, 2), 1)


def draw(model, images, path: Path, orient=np.asarray) -> None:
    reconstructions = keras.ops.convert_to_numpy(model.reconstruct(images))
    draw_pairs(orient(images), orient(reconstructions), path)


def main(
    run: Path,
    test: Path,
    bundle: Path,
    data: str,
    cooldown: int,
    trained_on: str,
    unseen: Path | None = None,
):
    with new_folder(bundle) as folder:
        fill(folder, bundle.name, run, test, data, cooldown, trained_on, unseen)


def fill(
    folder: Path,
    name: str,
    run: Path,
    test: Path,
    data: str,
    cooldown: int,
    trained_on: str,
    unseen: Path | None,
):
    """Puts the model of a run and all that is told of it into a folder."""
    config, log = config_of(run), read_log(run)
    best = json.loads((run / "best.json").read_text())
    model = keras.saving.load_model(run / "best.keras", compile=False)
    model.save(folder / f"{name}.keras")
    shutil.copyfile(run / "log.csv", folder / "log.csv")
    write_json(config, folder / "config.json")

    size, pictures, details = config["size"], "", {"size": config["size"]}
    shapes = [f"{rows}×{columns}" for rows, columns in model.code_shapes(lengths_of(config))]
    grids = f"as {' and '.join(shapes)} codes, and back"
    if data == "speech":
        crops = spectrograms_of(test, config, 1)
        rows, counts = score_segments(model, [test, *([unseen] if unseen else [])], config)
        scores = {"voices": rows}
        draw(model, crops[0][0][:SHOWN], folder / "reconstructions.png", upright)
        frames, bins = lengths_of(config)
        grids = f"Spectrograms of speech, {frames} frames of {bins} frequencies, {grids}"
        details = {
            "frames": frames,
            "bins": bins,
            "window": 2 * bins,
            "hop": crops.hop,
            "sample_rate": crops.sample_rate,
            "seconds": frames * crops.hop / crops.sample_rate,
        }
    else:
        rows, counts = score_crops(model, test, data, config)
        scores = {"crops": rows}
        # Fewer of the larger ones: pictures of photographs are large files.
        shown = SHOWN // 2 if size > 64 else SHOWN
        draw(model, crops_of(test, size, config, 1)[0][0][:shown], folder / "reconstructions.png")
        colours = "Colour" if config["channels"] == 3 else "Grey"
        grids = f"{colours} pictures of {size}×{size} pixels {grids} (larger ones as more codes)"
    if data == "photographs":
        scores["pictures"] = score_pictures(model, test, config)
        errors = [[name, f"{error:.5f}"] for name, error in scores["pictures"].items()]
        pictures = "By picture:\n\n" + table(["picture", "MSE"], errors) + "\n\n"
    draw_histograms(counts, folder / "codes.png")
    (folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")

    text = {
        **config,
        **model.get_config(),
        "name": name,
        "grids": grids,
        "inputs": "spectrograms" if data == "speech" else "images",
        "range": "levels of `SpectrogramCrops`" if data == "speech" else "images in -1 to 1",
        "kind": "VQ-VAE-2" if len(shapes) > 1 else "VQ-VAE",
        "paper": PAPERS[len(shapes) > 1],
        "parameters": model.count_params(),
        "data": DATA[data].format(**details),
        "steps": len(log) * config["steps"],
        "epochs": len(log),
        "cooldown": cooldown,
        "trained_on": trained_on,
        "cpu_minutes": sum(float(row["cpu_seconds"]) for row in log) / 60,
        "minutes": sum(float(row["seconds"]) for row in log) / 60,
        "valid": 16 * config["batch"],
        "epoch": best["epoch"],
        "best": best["val_reconstruction_loss"],
        "scored": SCORED[data].format(crops=rows[0]["crops"], voices=VOICES if unseen else ""),
        "scores": scores_table(model, rows),
        "pictures": pictures,
        "shown_above": SHOWN_ABOVE[data],
        "licence": LICENCE[data],
        "limits": LIMITS[data],
    }
    (folder / "README.md").write_text(reflowed(CARD.format(**text)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("test", type=Path, help="folder of test pictures or recordings")
    parser.add_argument("bundle", type=Path, help="folder to make")
    parser.add_argument("--data", choices=DATA, required=True, help="what the run was trained on")
    parser.add_argument("--cooldown", type=int, default=10, help="as it was given to the training")
    parser.add_argument("--trained-on", default="TensorFlow on 2 CPU cores", help="for the card")
    parser.add_argument("--unseen", type=Path, help="recordings of other voices, scored as well")
    main(**vars(parser.parse_args()))
