"""`keras-sep separate`: the sources of recordings as WAV files."""

import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from keras_sep.cli._backend import quiet_native_code
from keras_sep.cli._errors import UserError
from keras_sep.cli._stream import separate_stream
from keras_sep.inference import SeparationNotice, Separator
from keras_sep.inference.files import CHANNELS, SUBTYPES


def separate(
    files: Annotated[
        list[Path], typer.Argument(help="WAV, FLAC, OGG or MP3 files; - with --stream.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for <name>_source1.wav and so on.")
    ] = Path("separated"),
    model: Annotated[
        Path | None,
        typer.Option(help="A .keras file or a SavedModel folder; without, the bundled model."),
    ] = None,
    channels: Annotated[
        str, typer.Option(help="mix: average several channels; each: separate each on its own.")
    ] = "mix",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs.")] = False,
    subtype: Annotated[str, typer.Option(help="PCM_16, PCM_24 or FLOAT.")] = "PCM_16",
    chunk_seconds: Annotated[
        float, typer.Option(help="Length of the chunks of long recordings.")
    ] = 32.0,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32 or bfloat16, which is slower unless the processor multiplies it; not of "
            "SavedModels."
        ),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Separate raw 16-bit samples of standard input to standard output, with a causal "
            "--model, as they come.",
        ),
    ] = False,
):
    """Separates the voices of recordings of any length, rate and number of channels.

    Prints the paths of the written files. A file that cannot be separated does not keep the
    others from it.
    """
    if stream != (files == [Path("-")]):
        raise UserError("--stream reads standard input: give - as the file, and - only with it")
    if stream and dtype is not None:
        raise UserError("--stream computes in the dtype of the model: leave --dtype out")
    if stream:
        separate_stream(model)
        return
    for name, value, choices in [
        ("--channels", channels, CHANNELS),
        ("--subtype", subtype, SUBTYPES),
    ]:
        if value not in choices:
            raise UserError(f"{name} must be one of {', '.join(choices)}, got {value}")
    _check_names(files, out)
    _check_writable(out)
    problems = {path: _problem(path, out, overwrite) for path in files}
    for problem in filter(None, problems.values()):
        _report(problem)
    good = [path for path in files if not problems[path]]
    if not good:
        raise typer.Exit(2)

    try:
        with quiet_native_code():
            separator = Separator(model, chunk_seconds, dtype=dtype)
    except ValueError as error:
        raise UserError(_one_line(error)) from None
    separated = [
        _separate_file(separator, path, out, channels, overwrite, subtype) for path in good
    ]
    if len(good) < len(files) or not all(separated):
        raise typer.Exit(2)


def _separate_file(separator, path, out, channels, overwrite, subtype):
    """Whether it could be separated."""
    import soundfile
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}% done, left:"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = progress.add_task(path.name, total=None)
    try:
        with warnings.catch_warnings(), progress:
            warnings.simplefilter("always", SeparationNotice)
            warnings.showwarning = _show_warning
            written = separator.separate_file(
                path,
                out,
                channels,
                overwrite,
                subtype,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except (ValueError, OSError, soundfile.SoundFileError) as error:
        _report(_one_line(error))
        return False
    for source in written:
        print(source, flush=True)
    return True


def _check_names(files, out):
    """No file's sources may take the place of another's, or of an input."""
    for stem, count in Counter(path.stem for path in files).items():
        if count > 1:
            raise UserError(
                f"{count} files are named {stem}; separate them into folders of their own"
            )
    for path in files:
        if path.resolve().parent == out.resolve() and any(
            path.stem.startswith(f"{other.stem}_source") for other in files
        ):
            raise UserError(f"the sources of another file would replace {path}; give another --out")


def _check_writable(out):
    folder = out.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"cannot write to {out}: {folder} is a file; give another --out")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to {out}: no permission in {folder}; give another --out")


def _problem(path, out, overwrite):
    """Why a file cannot be separated, as far as its header and the output tell."""
    from keras_sep.data import audio
    from keras_sep.inference.files import output_paths

    try:
        audio.inspect(path)
    except audio.AudioError as error:
        return str(error)
    (first,) = output_paths(path, out, 1)
    if first.exists() and not overwrite:
        return f"{first} exists; give --overwrite, or another --out"
    return None


def _show_warning(message, category, *where, show=warnings.showwarning):
    if issubclass(category, SeparationNotice):
        _report(message)
    else:
        show(message, category, *where)


def _report(message):
    print(f"keras-sep: {message}", file=sys.stderr)


def _one_line(error):
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())
