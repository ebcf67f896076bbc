"""Build a small corpus of sounds by class from recordings in Debian's packages.

    python examples/data/fetch_sounds.py [--out sounds] [--cache DIR]

Downloads 22 packages (some 470 MB, those of fetch_voices.py among them) with `apt-get download`,
unpacks them with `dpkg-deb -x`, and writes `sounds/{train,valid,test}/<class>/*.flac`, mono,
16 kHz. Needs no root. A rerun downloads and converts only what is missing. Which class holds
what, and under which licence: SOUNDS.md beside this file. Needs numpy, rich, soundfile and soxr.
"""

import argparse
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fetch_voices
import numpy as np
import soundfile
import soxr
from fetch_voices import Apt, FetchError, cached_deb, last_line, run
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

SAMPLE_RATE = 16000
SPLITS = ("train", "valid", "test")
# Every fifth file of a class is for the test, every fifth for validation.
SHARE = 5
# So many recordings a voice are enough, and keep the corpus small.
MAX_OF_A_VOICE = 40
MIN_PEAK = 1e-3


@dataclass(frozen=True)
class Source:
    """Files of one package, matched by their path in it."""

    package: str
    pattern: str
    class_name: str


SAMPLES = r"/sonic-pi/samples/"
SOURCES = (
    Source("asterisk-moh-opsound-wav", r"/moh/.*\.wav$", "music"),
    # Kenta Cho's games.
    *(
        Source(f"{game}-data", r"\.ogg$", "music")
        for game in (
            "a7xpg",
            "gunroar",
            "mu-cade",
            "parsec47",
            "rrootage",
            "titanion",
            "torus-trooper",
            "tumiki-fighters",
        )
    ),
    Source("frozen-bubble-data", r"zik.*\.ogg$", "music"),
    Source("sonic-pi-samples", SAMPLES + r"(bd|drum|sn)_", "drums"),
    Source("sonic-pi-samples", SAMPLES + r"(elec|glitch|mehackit)_", "electronic"),
    Source("sonic-pi-samples", SAMPLES + r"tabla_", "tabla"),
)
# Game music is long; effects of the same games are not music.
MIN_MUSIC_SECONDS = 30.0
CLASSES = tuple(sorted({source.class_name for source in SOURCES} | {"speech"}))


def order_of(path: str) -> str:
    """A place by the path in the package alone, so that it never moves between runs."""
    return hashlib.sha256(path.encode()).hexdigest()


def split_files(paths: list[str]) -> dict[str, str]:
    """The split of each path: by rank and not by chance, so that small classes get their share."""
    ranked = sorted(paths, key=order_of)
    places = {0: "test", 1: "valid"}
    return {path: places.get(rank % SHARE, "train") for rank, path in enumerate(ranked)}


def split_voices(recordings: list[tuple[str, str, Path]]) -> dict[str, list[tuple[str, str, Path]]]:
    """(speaker, path, file) by split, as fetch_voices.py splits, a few of each voice.

    The voices that it keeps out of training are in the test.
    """
    splits: dict[str, list] = {split: [] for split in SPLITS}
    count: dict[str, int] = {}
    for speaker, path, file in sorted(recordings, key=lambda recording: order_of(recording[1])):
        count[speaker] = count.get(speaker, 0) + 1
        if count[speaker] <= MAX_OF_A_VOICE:
            split = fetch_voices.split_of(speaker, path)
            splits["test" if split == "unseen" else split].append((speaker, path, file))
    return splits


def read(path: Path) -> np.ndarray:
    """The recording, mono, at SAMPLE_RATE, float32."""
    gsm = {"samplerate": 8000, "channels": 1, "format": "RAW", "subtype": "GSM610"}
    options = gsm if path.suffix == ".gsm" else {}
    signal, rate = soundfile.read(path, dtype="float32", always_2d=True, **options)
    signal = signal.mean(axis=1)
    return soxr.resample(signal, rate, SAMPLE_RATE, quality="VHQ") if len(signal) else signal


def prepare(signal: np.ndarray, class_name: str) -> np.ndarray | None:
    """16-bit samples of the sound, silence at its ends cut off; None when there is none."""
    if not len(signal) or not np.all(np.isfinite(signal)):
        return None
    if class_name == "music" and len(signal) < MIN_MUSIC_SECONDS * SAMPLE_RATE:
        return None
    if class_name == "speech":
        signal = fetch_voices.highpass(signal, SAMPLE_RATE)
    signal = fetch_voices.trim(signal, SAMPLE_RATE)
    peak = np.max(np.abs(signal), initial=0.0)
    shortest = fetch_voices.MIN_SECONDS if class_name == "speech" else 0.0
    if len(signal) <= shortest * SAMPLE_RATE or peak < MIN_PEAK:
        return None
    return np.round(signal / max(peak, 1.0) * 32767).astype(np.int16)


def finished(out: Path, class_name: str) -> bool:
    return (out / "train" / class_name).is_dir()


def convert_class(
    out: Path, class_name: str, files: list[tuple[str, str, Path]], advance=lambda: None
) -> None:
    """Writes one class from (split, name, file); its folders appear only when complete.

    Of recordings that several files hold the first is taken, so no two splits share one.
    """
    partial, seen = out / f"{class_name}.partial", set()
    for folder in (partial, *(out / split / class_name for split in SPLITS)):
        shutil.rmtree(folder, ignore_errors=True)
    for split, name, file in files:
        advance()
        try:
            samples = prepare(read(file), class_name)
        except (soundfile.LibsndfileError, RuntimeError):
            continue  # not audio
        if samples is None or (digest := fetch_voices.digest_of(samples)) in seen:
            continue
        seen.add(digest)
        (partial / split).mkdir(parents=True, exist_ok=True)
        soundfile.write(partial / split / f"{name}-{digest}.flac", samples, SAMPLE_RATE)
    # `train` last: `finished` looks there.
    for split in reversed(SPLITS):
        if (partial / split).is_dir():
            (out / split).mkdir(parents=True, exist_ok=True)
            (partial / split).rename(out / split / class_name)
    shutil.rmtree(partial, ignore_errors=True)


def sounds(root: Path, package: str) -> Iterator[tuple[str, str, Path]]:
    """(class, path in the package, file) of every recording, sorted, links left out."""
    sources = [source for source in SOURCES if source.package == package]
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root).as_posix()
        for source in sources:
            if re.search(source.pattern, path) and file.is_file() and not file.is_symlink():
                yield source.class_name, path, file


def name_of(path: str) -> str:
    """A file name for a path, without what file systems dislike."""
    return re.sub(r"[^\w-]+", "_", Path(path).stem)


def plan(unpacked: Path) -> dict[str, list[tuple[str, str, Path]]]:
    """(split, name, file) by class, of all unpacked packages."""
    voices, classes = [], {}
    for root in sorted(unpacked.iterdir()):
        voices += fetch_voices.recordings(root, root.name)
        for class_name, path, file in sounds(root, root.name):
            classes.setdefault(class_name, {})[path] = file
    planned = {}
    for class_name, files in classes.items():
        splits = split_files(list(files))
        planned[class_name] = [(splits[path], name_of(path), files[path]) for path in files]
    planned["speech"] = [
        (split, f"{speaker}-{name_of(path)}", file)
        for split, recordings in split_voices(voices).items()
        for speaker, path, file in recordings
    ]
    return planned


def report(out: Path, console: Console) -> None:
    table = Table("class", title=f"{out}: files, minutes")
    for column in SPLITS:
        table.add_column(column, justify="right")
    for class_name in CLASSES:
        row = []
        for split in SPLITS:
            files = list((out / split / class_name).glob("*.flac"))
            minutes = sum(soundfile.info(file).duration for file in files) / 60
            row.append(f"{len(files)}, {minutes:.1f}")
        table.add_row(class_name, *row)
    console.print(table)


def build(out: Path, cache: Path, voices_cache: Path, console: Console) -> None:
    packages = {source.package: voices_cache for source in fetch_voices.SOURCES}
    packages |= {source.package: cache for source in SOURCES}
    apt = Apt(cache)
    bar = (TextColumn("{task.description}"), BarColumn())
    with Progress(*bar, DownloadColumn(), console=console) as progress:
        for package, folder in packages.items():
            folder.mkdir(parents=True, exist_ok=True)
            if not cached_deb(folder, package):
                task = progress.add_task(package)
                for done, total in apt.download(package, folder):
                    progress.update(task, completed=done, total=total)
    if all(finished(out, class_name) for class_name in CLASSES):
        return
    with (
        tempfile.TemporaryDirectory(dir=cache, prefix="unpacked-") as unpacked,
        Progress(*bar, MofNCompleteColumn(), console=console) as progress,
    ):
        task = progress.add_task("unpack", total=len(packages))
        for package, folder in packages.items():
            archive, root = cached_deb(folder, package), Path(unpacked, package)
            result = run(["dpkg-deb", "-x", str(archive), str(root)])
            if result.returncode:
                raise FetchError(f"could not unpack {package}: {last_line(result.stderr)}")
            progress.advance(task)
        for class_name, files in plan(Path(unpacked)).items():
            if not finished(out, class_name):
                task = progress.add_task(class_name, total=len(files))
                convert_class(out, class_name, files, lambda t=task: progress.advance(t))


def main(arguments: list[str] | None = None) -> int:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras-sep"
    kept = "where packages stay (default: %(default)s)"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("sounds"), help="the corpus's folder")
    parser.add_argument("--cache", type=Path, default=caches / "sounds", help=kept)
    parser.add_argument(
        "--voices-cache",
        type=Path,
        default=caches / "voices",
        help="the cache of fetch_voices.py (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            print(
                f"fetch_sounds: {tool} not found; run this on Debian or Ubuntu, or train on "
                "any folder of sounds by class",
                file=sys.stderr,
            )
            return 2
    console = Console()
    try:
        build(options.out, options.cache.absolute(), options.voices_cache.absolute(), console)
        report(options.out, console)
    except FetchError as error:
        print(f"fetch_sounds: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fetch_sounds: interrupted; run again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
