"""Gather photographs from Debian's wallpapers.

    python examples/data/fetch_photographs.py [--out photographs] [--cache DIR]

Downloads two packages (62 MB) with `apt-get download`, unpacks them with `dpkg-deb -x`, and copies
25 photographs as they are to `photographs/{train,valid,test}/`. Needs no root. A rerun downloads
only what is missing. Whose they are, and under which licence: PHOTOGRAPHS.md beside this file.
Needs rich and what fetch_voices.py beside this file does.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from fetch_voices import Apt, FetchError, cached_deb, last_line, run
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

FOLDERS = {
    "lomiri-wallpapers-16.04": "usr/share/backgrounds",
    "mate-backgrounds": "usr/share/backgrounds/mate/nature",
}
# Rendered or abstract: no photographs of anything.
NOT_PHOTOGRAPHS = {"analogpattern_by_Peter_Nerlich.jpg", "umang_by_Abhishek_Mudgal.jpg"}
NUM_TEST, NUM_VALID = 5, 4


def splits_of(names: list[str]) -> dict[str, str]:
    """The split of each picture, in the order of the hashes of their names."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    splits = ["test"] * NUM_TEST + ["valid"] * NUM_VALID
    splits += ["train"] * (len(order) - len(splits))
    return dict(zip(order, splits, strict=True))


def photographs(root: Path) -> list[Path]:
    """The photographs of the unpacked packages, links left out."""
    files = [file for folder in FOLDERS.values() for file in (root / folder).glob("*.jpg")]
    return [f for f in files if f.name not in NOT_PHOTOGRAPHS and not f.is_symlink()]


def build(out: Path, cache: Path, console: Console) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    apt = Apt(cache)
    bar = (TextColumn("{task.description}"), BarColumn())
    with Progress(*bar, DownloadColumn(), console=console) as progress:
        for package in FOLDERS:
            if not cached_deb(cache, package):
                task = progress.add_task(package)
                for done, total in apt.download(package, cache):
                    progress.update(task, completed=done, total=total)
    with tempfile.TemporaryDirectory(dir=cache, prefix="unpacked-") as unpacked:
        for package in FOLDERS:
            result = run(["dpkg-deb", "-x", str(cached_deb(cache, package)), unpacked])
            if result.returncode:
                raise FetchError(f"could not unpack {package}: {last_line(result.stderr)}")
        files = photographs(Path(unpacked))
        splits = splits_of([file.name for file in files])
        for file in files:
            folder = out / splits[file.name]
            folder.mkdir(parents=True, exist_ok=True)
            beside = folder / f".{file.name}.partial"
            shutil.copyfile(file, beside)
            beside.replace(folder / file.name)
    for split in ("train", "valid", "test"):
        console.print(f"{out / split}: {len(list((out / split).glob('*.jpg')))} photographs")


def main(arguments: list[str] | None = None) -> int:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache, kept = caches / "keras-sep" / "photographs", "where packages stay (default: %(default)s)"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("photographs"), help="folder to make")
    parser.add_argument("--cache", type=Path, default=cache, help=kept)
    options = parser.parse_args(arguments)
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            print(
                f"fetch_photographs: {tool} not found; run this on Debian or Ubuntu, or train on "
                "any folder of pictures",
                file=sys.stderr,
            )
            return 2
    try:
        build(options.out, options.cache.absolute(), Console())
    except FetchError as error:
        print(f"fetch_photographs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fetch_photographs: interrupted; run again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
