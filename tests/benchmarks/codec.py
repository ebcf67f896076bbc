"""Bits per pixel of held-out photographs: the codec beside PNG, and JPEG at equal error.

    python tests/benchmarks/codec.py photographs/test --priors top.keras bottom.keras

`photographs` is what examples/data/fetch_photographs.py makes; the priors are those of
examples/train_prior.py for the two levels. Random crops of the pictures, all of a size in one
stream of the codec. The error is the mean of squares of all crops' pixels, in -1 to 1, after the
codec's reconstruction is rounded to 8 bits. JPEG (4:2:0, optimized Huffman tables) gets the least
quality with which its error is no larger; its bytes are also given without headers and tables,
which outweigh the rest in small pictures. Prints a table and writes JSON.
"""

import argparse
import io
import json
import math
import time
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from keras_sep.codec import ImageCodec
from keras_sep.codec.stream_format import unpack
from keras_sep.data import ImageCrops

MODEL = Path(__file__).parents[2] / "saved_models" / "vq_vae_2_photographs_64"
MODEL /= "vq_vae_2_photographs_64.keras"


def error(images, reconstructions) -> float:
    """Mean squared error of uint8 pixels, in units of -1 to 1."""
    difference = images.astype("float64") - reconstructions.astype("float64")
    return float(np.mean(np.square(difference / 127.5)))


def jpeg(images, quality: int) -> tuple[int, int, float]:
    """Bytes, those of the entropy-coded part, and the error."""
    total, scans, decoded = 0, 0, []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality, optimize=True)
        data = file.getvalue()
        total += len(data)
        # What follows the header of the only scan, without the two bytes of the end.
        start = data.index(b"\xff\xda")
        scans += len(data) - start - 2 - int.from_bytes(data[start + 2 : start + 4]) - 2
        decoded.append(np.asarray(Image.open(file)))
    return total, scans, error(images, np.stack(decoded))


def jpeg_at(images, most: float) -> tuple[int, int, int, float]:
    """Quality, bytes, those of the scans and error at the least quality within an error."""
    low, high = 1, 95
    while low < high:
        middle = (low + high) // 2
        if jpeg(images, middle)[2] <= most:
            high = middle
        else:
            low = middle + 1
    return low, *jpeg(images, low)


def png(images) -> int:
    total = 0
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG", optimize=True)
        total += len(file.getvalue())
    return total


def ideal_bits(codec, codes) -> float:
    """The codes' cross-entropy by full passes of the priors."""
    bits = 0.0
    for level, prior in enumerate(codec.priors):
        inputs = {"codes": codes[level]}
        if prior.condition_num_embeddings is not None:
            inputs["condition"] = codes[level - 1]
        logits = keras.ops.convert_to_numpy(prior(inputs, training=False)).astype("float64")
        chosen = np.take_along_axis(logits, codes[level][..., None], axis=-1)[..., 0]
        most = logits.max(axis=-1)
        total = most + np.log(np.exp(logits - most[..., None]).sum(axis=-1))
        bits += float((total - chosen).sum() / math.log(2))
    return bits


def measure(codec, folder: Path, size: int, number: int, progress) -> dict:
    (crops,) = ImageCrops(folder, size, number, 1, mirror=False, fixed=True)[0]
    images = np.round((crops + 1) * 127.5).astype("uint8")
    task = progress.add_task(f"{number} crops of {size}×{size}", total=None)

    def report(done, total):
        progress.update(task, completed=done, total=total)

    # The first rows compile the priors' steps, so a first pass does not count.
    codec.compress(crops)
    start = time.perf_counter()
    stream = codec.compress(crops, progress=report)
    middle = time.perf_counter()
    decoded = codec.decompress(stream, progress=report)
    end = time.perf_counter()
    pixels = number * size * size
    reconstructions = np.round((np.clip(decoded, -1, 1) + 1) * 127.5).astype("uint8")
    mse = error(images, reconstructions)
    codes = [keras.ops.convert_to_numpy(grid) for grid in codec.model.encode(crops)]
    count = sum(grid.size for grid in codes)
    quality, total, scans, jpeg_mse = jpeg_at(images, mse)
    payload = len(unpack(stream)[1])
    ideal = ideal_bits(codec, codes)
    return {
        "size": size,
        "crops": number,
        "mse": mse,
        "bits_per_pixel": {
            "codec": 8 * len(stream) / pixels,
            "ideal by the priors": ideal / pixels,
            "uniform codes": count * math.log2(codec.model.num_embeddings) / pixels,
            "PNG, lossless": 8 * png(images) / pixels,
            "JPEG": 8 * total / pixels,
            "JPEG without headers": 8 * scans / pixels,
        },
        "bits_per_code": 8 * payload / count,
        "over_ideal": 8 * payload / ideal - 1,
        "header_bytes": len(stream) - payload,
        "jpeg_quality": quality,
        "jpeg_mse": jpeg_mse,
        "compress_seconds": middle - start,
        "decompress_seconds": end - middle,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path, help="folder of pictures no model has seen")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--priors", type=Path, nargs="+", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--pixels", type=int, default=2**19, help="of all crops of a size")
    parser.add_argument("--json", type=Path, default=Path("out/codec.json"))
    options = parser.parse_args()
    console = Console()
    model = keras.saving.load_model(options.model, compile=False)
    priors = [keras.saving.load_model(path, compile=False) for path in options.priors]
    codec = ImageCodec(model, priors)
    with Progress(console=console, transient=True) as progress:
        rows = [
            measure(codec, options.photographs, size, options.pixels // size**2, progress)
            for size in options.sizes
        ]
    table = Table(
        "bits a pixel", *(f"{row['crops']} of {row['size']}×{row['size']}" for row in rows)
    )
    for name in rows[0]["bits_per_pixel"]:
        table.add_row(name, *(f"{row['bits_per_pixel'][name]:.3f}" for row in rows))
    for name, form in [
        ("mse", ".5f"),
        ("jpeg_quality", "d"),
        ("jpeg_mse", ".5f"),
        ("bits_per_code", ".2f"),
        ("over_ideal", ".2%"),
        ("header_bytes", "d"),
        ("compress_seconds", ".1f"),
        ("decompress_seconds", ".1f"),
    ]:
        table.add_row(name.replace("_", " "), *(format(row[name], form) for row in rows))
    console.print(table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
