"""Build a small speech corpus from recordings in Debian's packages.

    python examples/data/fetch_voices.py [--out corpus] [--cache DIR]

Downloads eleven packages (some 370 MB) with `apt-get download`, unpacks them with
`dpkg-deb -x`, and writes `corpus/{train,valid,test,unseen}/<speaker>/*.flac`, mono, 8 kHz.
Needs no root. A rerun downloads and converts only what is missing. Who speaks, and under which
licence: VOICES.md beside this file. Needs numpy, rich, soundfile and soxr.
"""

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

SAMPLE_RATE = 8000
SPLITS = ("train", "valid", "test", "unseen")
# Kept out of training altogether: two women and two men.
UNSEEN = {"tux_el", "tux_be", "tux_ca", "klettres_ml"}
MIN_SECONDS, MIN_PEAK = 0.3, 1e-3

# Sounds among the telephone prompts that nobody speaks.
NOT_SPEECH = re.compile(
    r"(^|/)(silence/[^/]*|beep(err)?|(a|de)scending-2tone|tt-monkeys|confbridge-(join|leave))\.\w+$"
)
AUDIO = (".flac", ".gsm", ".ogg", ".wav")


@dataclass(frozen=True)
class Source:
    """Files of one package, matched by their path in it; the groups name the speaker."""

    package: str
    pattern: str
    speaker: str

    def speaker_of(self, path: str) -> str | None:
        """The speaker of `path`, a path relative to the package's root, or None."""
        match = re.search(self.pattern, path)
        if not match or not path.endswith(AUDIO) or NOT_SPEECH.search(path):
            return None
        return match.expand(self.speaker)


SOURCES = (
    # The same woman in English and in Spanish: one speaker.
    Source("asterisk-core-sounds-en-wav", r"/en_US_f_Allison/", "allison_smith"),
    Source("asterisk-core-sounds-es-wav", r"/es_MX_f_Allison/", "allison_smith"),
    Source("asterisk-core-sounds-fr-wav", r"/fr_CA_f_June/", "june_wallack"),
    Source("asterisk-core-sounds-it-wav", r"/it_IT_m_Carlo/", "carlo_flora"),
    Source("asterisk-core-sounds-ru-wav", r"/ru_RU_f_IvrvoiceRU/", "maxim_topal"),
    Source("asterisk-prompt-es-co", r"/sounds/", "july_jimenez"),
    Source("asterisk-prompt-fr-armelle", r"/sounds/", "armelle_desjardins"),
    # The French files are silent; the other languages are a few words each.
    Source("tuxpaint-stamps-default", r"_desc_(ro|es|ru|bg|el|be|ca|da)\.ogg$", r"tux_\1"),
    Source("fillets-ng-data-cs", r"/(cs)/[^/]*-m-[^/]*$", r"fillets_\1_small"),
    Source("fillets-ng-data-cs", r"/(cs)/[^/]*-v-[^/]*$", r"fillets_\1_big"),
    Source("fillets-ng-data-nl", r"/(nl)/[^/]*-m-[^/]*$", r"fillets_\1_small"),
    Source("fillets-ng-data-nl", r"/(nl)/[^/]*-v-[^/]*$", r"fillets_\1_big"),
    # German has two voices: a man reads the syllables and one letter, a woman the others.
    Source("klettres-data", r"/klettres/de/(syllab/|alpha/sz\.)", "klettres_de_man"),
    Source("klettres-data", r"/klettres/de/alpha/", "klettres_de_woman"),
    Source("klettres-data", r"/klettres/(\w+)/(alpha|syllab)/", r"klettres_\1"),
)


def split_of(speaker: str, path: str) -> str:
    """The split of one recording: by its name alone, so that it never moves between runs."""
    if speaker in UNSEEN:
        return "unseen"
    bucket = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") % 10
    return ("test", "valid")[bucket] if bucket < 2 else "train"


def digest_of(samples: np.ndarray) -> str:
    """Names what is heard: equal for equal samples, whatever file held them."""
    return hashlib.sha256(samples.tobytes()).hexdigest()[:16]


def highpass(signal: np.ndarray, rate: int) -> np.ndarray:
    """Takes out what lies below the voice: offset, rumble, the hum of the mains (50 to 60 Hz).

    Several home recordings hold as much energy down there as in the speech, and a model
    trained on them would be graded by how well it copies the rumble.
    """
    # Padded by a second at least, for the filter wraps around.
    size = 1 << (len(signal) + rate - 1).bit_length()
    ramp = np.clip((np.fft.rfftfreq(size, 1 / rate) - 50.0) / 20.0, 0.0, 1.0)
    spectrum = np.fft.rfft(signal, size) * np.sin(np.pi / 2 * ramp) ** 2
    return np.fft.irfft(spectrum, size)[: len(signal)].astype(np.float32)


def trim(signal: np.ndarray, rate: int, margin: float = 0.05) -> np.ndarray:
    """Cuts silence off both ends, leaving `margin` seconds; empty when there is nothing else.

    A 20 ms frame is silent 45 dB below the third loudest (the loudest may be a click). Where
    the room is noisier than that, the line is 6 dB above the quietest tenth of the frames,
    but never less than 35 dB below the loudest, where speech itself begins.
    """
    size = rate // 50
    frames = len(signal) // size
    if not frames:
        return signal[:0]
    blocks = signal[: frames * size].reshape(frames, size)
    level = np.sqrt(np.mean(np.square(blocks, dtype=np.float64), axis=1))
    loudest = np.sort(level)[-min(3, frames)]
    noise = np.percentile(level, 10)
    line = max(loudest * 10 ** (-45 / 20), min(2 * noise, loudest * 10 ** (-35 / 20)), 1e-6)
    loud = np.flatnonzero(level > line)
    if not len(loud):
        return signal[:0]
    pad = round(margin * rate)
    return signal[max(loud[0] * size - pad, 0) : (loud[-1] + 1) * size + pad]


def read(path: Path) -> np.ndarray:
    """The recording, mono, at SAMPLE_RATE, float32."""
    # `.gsm` is GSM 06.10 without a header: 8 kHz, mono by definition.
    gsm = {"samplerate": 8000, "channels": 1, "format": "RAW", "subtype": "GSM610"}
    options = gsm if path.suffix == ".gsm" else {}
    signal, rate = soundfile.read(path, dtype="float32", always_2d=True, **options)
    signal = signal.mean(axis=1)
    return soxr.resample(signal, rate, SAMPLE_RATE, quality="VHQ") if len(signal) else signal


def prepare(signal: np.ndarray) -> np.ndarray | None:
    """16-bit samples of the utterance, or None when there is none to speak of."""
    if not len(signal) or not np.all(np.isfinite(signal)):
        return None
    signal = trim(highpass(signal, SAMPLE_RATE), SAMPLE_RATE)
    peak = np.max(np.abs(signal), initial=0.0)
    if len(signal) < MIN_SECONDS * SAMPLE_RATE or peak < MIN_PEAK:
        return None
    if peak > 1.0:
        signal = signal / peak
    return np.round(signal * 32767).astype(np.int16)


class FetchError(Exception):
    """Something outside this script failed; the message is for the user."""


# C locale: the messages shown on failure are the ones that can be searched for.
PLAIN = {**os.environ, "LC_ALL": "C"}


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, text=True, capture_output=True, env=PLAIN)


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("E:")]
    return (lines or text.split("\n"))[-1] or "no message"


def cached_deb(cache: Path, package: str) -> Path | None:
    return next(iter(sorted(cache.glob(f"{package}_*.deb"), reverse=True)), None)


class Apt:
    """`apt-get download`, with package lists of our own where the system has none."""

    def __init__(self, cache: Path):
        self.lists, self.options = cache / "apt", []

    def update(self) -> None:
        (self.lists / "partial").mkdir(parents=True, exist_ok=True)
        self.options = ["-o", f"Dir::State::lists={self.lists}", "-o", f"Dir::Cache={self.lists}"]
        result = run(["apt-get", *self.options, "update"])
        if result.returncode:
            raise FetchError(f"apt-get update failed: {last_line(result.stderr)}")

    def locate(self, package: str) -> tuple[str, int]:
        """File name and size of the package's archive."""
        command = ["--print-uris", "download", package]
        result = run(["apt-get", *self.options, *command])
        if result.returncode and not self.options:
            # No lists, as in a fresh container. Only root may fetch the system's.
            self.update()
            result = run(["apt-get", *self.options, *command])
        match = re.search(r"^'[^']+' (\S+) (\d+)", result.stdout, re.MULTILINE)
        if result.returncode or not match:
            raise FetchError(f"apt-get knows no {package}: {last_line(result.stderr)}")
        return match[1], int(match[2])

    def download(self, package: str, cache: Path) -> Iterator[tuple[int, int]]:
        """Downloads into `cache`; yields bytes so far and in all."""
        name, total = self.locate(package)
        with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as folder:
            command = ["apt-get", *self.options, "download", package]
            pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
            with subprocess.Popen(command, cwd=folder, env=PLAIN, text=True, **pipes) as process:
                done = 0
                while process.poll() is None:
                    time.sleep(0.1)
                    with contextlib.suppress(FileNotFoundError):  # apt renames its files
                        done = sum(file.stat().st_size for file in Path(folder).iterdir())
                    yield done, total
                message = last_line(process.stderr.read())
            if process.returncode or not Path(folder, name).exists():
                raise FetchError(f"could not download {package}: {message}")
            # apt has checked the hash by now; only a whole archive gets into the cache.
            Path(folder, name).replace(cache / name)
        yield total, total


def finished(out: Path, speaker: str) -> bool:
    return (out / ("unseen" if speaker in UNSEEN else "train") / speaker).is_dir()


def recordings(root: Path, package: str) -> Iterator[tuple[str, str, Path]]:
    """(speaker, path in the package, file) of every recording, sorted, links left out."""
    sources = [source for source in SOURCES if source.package == package]
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root).as_posix()
        speaker = next(filter(None, (source.speaker_of(path) for source in sources)), None)
        if speaker and file.is_file() and not file.is_symlink():
            yield speaker, path, file


def clear(out: Path, speaker: str) -> None:
    """Removes what an interrupted run left of a speaker that is not finished."""
    for folder in (out / f"{speaker}.partial", *(out / split / speaker for split in SPLITS)):
        shutil.rmtree(folder, ignore_errors=True)


def known_digests(out: Path) -> set[str]:
    """Digests of everything in the corpus; file names end in them."""
    return {file.stem.rsplit("-", 1)[1] for file in out.glob("*/*/*-*.flac")}


def convert_speaker(
    out: Path, speaker: str, files: list[tuple[str, Path]], seen: set[str], advance=lambda: None
) -> None:
    """Writes one speaker's folders; they appear under their names only when complete.

    `seen` holds the digests already in the corpus: of recordings that several files hold
    (tuxpaint has some hundred) the first is taken, so no two splits share one.
    """
    partial = out / f"{speaker}.partial"
    for path, file in files:
        advance()
        try:
            samples = prepare(read(file))
        except (soundfile.LibsndfileError, RuntimeError):
            continue  # not audio
        if samples is None or (digest := digest_of(samples)) in seen:
            continue
        seen.add(digest)
        folder = partial / split_of(speaker, path)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{Path(path).parent.name}-{Path(path).stem}-{digest}.flac"
        soundfile.write(folder / name, samples, SAMPLE_RATE, subtype="PCM_16")
    # `train` last: `finished` looks there.
    for split in reversed(SPLITS):
        if (partial / split).is_dir():
            (out / split).mkdir(parents=True, exist_ok=True)
            (partial / split).rename(out / split / speaker)
    shutil.rmtree(partial, ignore_errors=True)


def report(out: Path, console: Console) -> None:
    table = Table("speaker", title=f"{out}: minutes of speech")
    for column in (*SPLITS, "total"):
        table.add_column(column, justify="right")
    totals = np.zeros(len(SPLITS))
    for speaker in sorted({folder.name for split in SPLITS for folder in out.glob(f"{split}/*")}):
        files = [(out / split / speaker).glob("*.flac") for split in SPLITS]
        row = np.array([sum(soundfile.info(f).duration for f in group) for group in files]) / 60
        totals += row
        table.add_row(speaker, *(f"{m:.1f}" if m else "" for m in row), f"{row.sum():.1f}")
    table.add_section()
    table.add_row("all", *(f"{m:.1f}" for m in totals), f"{totals.sum():.1f}")
    console.print(table)


def build(out: Path, cache: Path, console: Console) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    packages = list(dict.fromkeys(source.package for source in SOURCES))
    apt = Apt(cache)
    bar = (TextColumn("{task.description}"), BarColumn())
    with Progress(*bar, DownloadColumn(), console=console) as progress:
        for package in packages:
            if not cached_deb(cache, package):
                task = progress.add_task(package)
                for done, total in apt.download(package, cache):
                    progress.update(task, completed=done, total=total)
    with tempfile.TemporaryDirectory(dir=cache, prefix="unpacked-") as unpacked:
        speakers: dict[str, list[tuple[str, Path]]] = {}
        for package in packages:
            root = Path(unpacked, package)
            result = run(["dpkg-deb", "-x", str(cached_deb(cache, package)), str(root)])
            if result.returncode:
                raise FetchError(f"could not unpack {package}: {last_line(result.stderr)}")
            for speaker, *recording in recordings(root, package):
                speakers.setdefault(speaker, []).append(tuple(recording))
        missing = [speaker for speaker in speakers if not finished(out, speaker)]
        for speaker in missing:
            clear(out, speaker)
        seen = known_digests(out)
        with Progress(*bar, MofNCompleteColumn(), console=console) as progress:
            for speaker in missing:
                files = speakers[speaker]
                task = progress.add_task(speaker, total=len(files))
                convert_speaker(out, speaker, files, seen, lambda t=task: progress.advance(t))


def main(arguments: list[str] | None = None) -> int:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache, kept = caches / "keras-sep" / "voices", "where packages stay (default: %(default)s)"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("corpus"), help="the corpus's folder")
    parser.add_argument("--cache", type=Path, default=cache, help=kept)
    options = parser.parse_args(arguments)
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            print(
                f"fetch_voices: {tool} not found; run this on Debian or Ubuntu, or train on "
                "any folder of recordings by speaker",
                file=sys.stderr,
            )
            return 2
    console = Console()
    try:
        build(options.out, options.cache.absolute(), console)
        report(options.out, console)
    except FetchError as error:
        print(f"fetch_voices: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fetch_voices: interrupted; run again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
