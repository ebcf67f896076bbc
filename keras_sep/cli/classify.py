"""`keras-sep classify`: what is heard in recordings."""

import json
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from keras_sep.cli._backend import quiet_native_code
from keras_sep.cli._errors import UserError
from keras_sep.inference import ClassificationNotice, Classifier


def classify(
    files: Annotated[list[Path], typer.Argument(help="WAV, FLAC, OGG or MP3 files.")],
    model: Annotated[
        Path | None,
        typer.Option(help="A .keras file or a SavedModel folder; without, the bundled model."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to show of each file.")] = 3,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print all probabilities as JSON, one line a file.")
    ] = False,
):
    """Says what is heard in recordings of any length, rate and number of channels.

    Prints the most probable classes of each file. A file that cannot be read does not keep the
    others from it.
    """
    from keras_sep.data import audio

    problems = {path: _problem(path, audio) for path in files}
    for problem in filter(None, problems.values()):
        _report(problem)
    good = [path for path in files if not problems[path]]
    if not good:
        raise typer.Exit(2)
    try:
        with quiet_native_code():
            classifier = Classifier(model)
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from None
    results = {}
    with _notices_in_lines(), _progress() as progress:
        for path in good:
            task = progress.add_task(path.name, total=None)
            try:
                results[path] = classifier.classify_file(
                    path,
                    lambda done, total, t=task: progress.update(t, completed=done, total=total),
                )
            except audio.AudioError as error:
                _report(error)
            progress.remove_task(task)
            if json_output and path in results:
                print(json.dumps({"file": str(path), "probabilities": results[path]}), flush=True)
    if results and not json_output:
        _print(results, top)
    if len(results) < len(files):
        raise typer.Exit(2)


def _problem(path, audio):
    """Why a file cannot be classified, as far as its header tells."""
    try:
        audio.inspect(path)
    except audio.AudioError as error:
        return str(error)
    return None


def _print(results, top):
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("file", overflow="fold")
    columns = min(top, *(len(probabilities) for probabilities in results.values()))
    for place in range(columns):
        table.add_column("most probable" if place == 0 else "then")
    for path, probabilities in results.items():
        ranked = list(probabilities.items())[:columns]
        table.add_row(str(path), *(f"{name} {probability:.0%}" for name, probability in ranked))
    Console().print(table)


def _progress():
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}% done, left:"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def _notices_in_lines():
    show = warnings.showwarning

    def in_a_line(message, category, *where):
        if issubclass(category, ClassificationNotice):
            _report(message)
        else:
            show(message, category, *where)

    with warnings.catch_warnings():
        warnings.simplefilter("always", ClassificationNotice)
        warnings.showwarning = in_a_line
        yield


def _report(message):
    print(f"keras-sep: {message}", file=sys.stderr)
