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
from pathlib import Path

import keras
from bundling import config_of, new_folder, read_log, take_weights, write_json
from vq_vae_2_card import DATA, card, pictures_table

from keras_sep.callbacks.codebook_histogram import draw_histograms
from keras_sep.callbacks.reconstruction_images import draw_pairs
from keras_sep.data import ImageCrops, SpectrogramCrops

BATCH, TEST_BATCHES, PICTURE_BATCHES, SHOWN = 32, 64, 8, 16
TRAINED_ON = "TensorFlow on 2 CPU cores"


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
    """MSE of crops of each picture."""
    crops = crops_of(folder, config["size"], config, PICTURE_BATCHES)
    errors = {}
    for path in crops.paths:
        crops.paths = [path]
        logs = model.evaluate(crops, return_dict=True, verbose=0)
        errors[path.name] = logs["reconstruction_loss"]
    return errors


def draw(model, images, path: Path, spectrograms: bool = False) -> None:
    reconstructions = keras.ops.convert_to_numpy(model.reconstruct(images))
    draw_pairs(images, reconstructions, path, spectrograms=spectrograms)


def main(
    run: Path,
    test: Path,
    bundle: Path,
    data: str,
    cooldown: int,
    unseen: Path | None = None,
    trained_on: str = TRAINED_ON,
):
    with new_folder(bundle) as folder:
        fill(folder, bundle.name, run, test, data, cooldown, unseen, trained_on)


def fill(
    folder: Path,
    name: str,
    run: Path,
    test: Path,
    data: str,
    cooldown: int,
    unseen: Path | None,
    trained_on: str,
):
    """Puts the model of a run and all that is told of it into a folder."""
    config, log = config_of(run), read_log(run)
    best = json.loads((run / "best.json").read_text())
    model = take_weights(run / "best.keras", folder / f"{name}.keras")
    shutil.copyfile(run / "log.csv", folder / "log.csv")
    write_json(config, folder / "config.json")

    size, by_picture = config["size"], {}
    details = {"size": size, "lengths": lengths_of(config)}
    if data == "speech":
        crops = spectrograms_of(test, config, 1)
        rows, counts = score_segments(model, [test, *([unseen] if unseen else [])], config)
        scores = {"voices": rows}
        draw(model, crops[0][0][:SHOWN], folder / "reconstructions.png", spectrograms=True)
        frames, bins = lengths_of(config)
        details |= {
            "frames": frames,
            "bins": bins,
            "window": 2 * bins,
            "hop": crops.hop,
            "sample_rate": crops.sample_rate,
            "seconds": frames * crops.hop / crops.sample_rate,
        }
    else:
        crops = crops_of(test, size, config, 1)
        details["files"] = len(crops.paths)
        rows, counts = score_crops(model, test, data, config)
        scores = {"crops": rows}
        # Fewer of the larger ones: pictures of photographs are large files.
        shown = SHOWN // 2 if size > 64 else SHOWN
        draw(model, crops[0][0][:shown], folder / "reconstructions.png")
    if data == "photographs":
        by_picture = scores["pictures"] = score_pictures(model, test, config)
    draw_histograms(counts, folder / "codes.png")
    write_json(scores, folder / "scores.json")
    pictures = pictures_table(BATCH * PICTURE_BATCHES, by_picture)
    text = card(name, model, data, config, log, best, details, rows, pictures, cooldown, trained_on)
    (folder / "README.md").write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("test", type=Path, help="folder of test pictures or recordings")
    parser.add_argument("bundle", type=Path, help="folder to make")
    parser.add_argument("--data", choices=DATA, required=True, help="what the run was trained on")
    parser.add_argument("--cooldown", type=int, default=10, help="as it was given to the training")
    parser.add_argument("--trained-on", default=TRAINED_ON, help="for the card")
    parser.add_argument("--unseen", type=Path, help="recordings of other voices, scored as well")
    main(**vars(parser.parse_args()))
