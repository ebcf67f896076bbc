"""`keras-sep evaluate`: SI-SNR, SDR, STOI and PESQ of a separator, as a table and JSON."""

import json
import sys
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

import keras_sep
from keras_sep.cli._backend import import_keras, quiet_native_code
from keras_sep.cli._errors import UserError
from keras_sep.evaluation import METRICS
from keras_sep.evaluation.measures import check_metrics, describe_pesq

_LABELS = {
    "si-snr": "SI-SNR\ndB",
    "si-snri": "SI-SNRi\ndB",
    "sdr": "SDR\ndB",
    "sdri": "SDRi\ndB",
    "stoi": "STOI",
    "pesq": "PESQ",
}
_WORST = 5


def evaluate(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] DATA...",
            help="MODEL: the folder of a run, a .keras file or a SavedModel folder; without, the "
            "bundled model. DATA: folders of mixtures with s1/, s2/ beside them, or of recordings "
            "by speaker, <speaker>/**/*.wav, of which mixtures are made.",
            show_default=False,
        ),
    ],
    metrics: Annotated[
        str, typer.Option(help=f"Of {', '.join(METRICS)}, separated by commas.")
    ] = "si-snri,sdri,stoi,pesq",
    mixtures: Annotated[int, typer.Option(help="Mixtures to make of recordings by speaker.")] = 200,
    seconds: Annotated[
        float | None,
        typer.Option(help="Make them of segments of this length; without, of whole files."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the mixtures made.")] = 0,
    resample: Annotated[
        bool, typer.Option("--resample", help="Resample files to the model's rate.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write all values into this file.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(help=f"New folder for the {_WORST} worst mixtures of each, as WAV files."),
    ] = None,
):
    """Measures how well a separator does: means over mixtures with 95 % bootstrap intervals.

    Estimates are assigned to sources by SI-SNR. SDR is that of BSS-eval, 512 taps; PESQ is narrow
    band below 16 kHz. All but si-snr and si-snri need pip install 'keras-sep[eval]'.
    """
    model, folders = (paths[0], paths[1:]) if _is_model(paths[0]) else (None, paths)
    if not folders:
        raise UserError(f"give a folder of mixtures or of speakers besides the model {model}")
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder; give one of mixtures or of speakers")
    chosen = [metric.strip() for metric in metrics.split(",")]
    _check_outputs(json_file, save)
    try:
        check_metrics(chosen)
    except (ValueError, ImportError) as error:
        raise UserError(f"--metrics: {error}") from None
    import_keras()
    from keras_sep.evaluation import evaluate, open_data
    from keras_sep.evaluation.saving import save_examples
    from keras_sep.inference import Separator

    with _warnings_in_lines():
        try:
            with quiet_native_code():
                separator = Separator(model)
            sets = [
                open_data(
                    folder,
                    separator.num_sources,
                    separator.sample_rate,
                    mixtures,
                    seconds,
                    seed,
                    resample,
                )
                for folder in folders
            ]
        except ValueError as error:
            raise UserError(" ".join(str(error).split())) from None
        evaluations = []
        for folder, data in zip(folders, sets, strict=True):
            with _progress(folder) as progress:
                evaluations.append(evaluate(separator, data, chosen, progress))
    _print(model or "bundled model", folders, evaluations, chosen)
    if "pesq" in chosen:
        print(f"PESQ: {describe_pesq(separator.sample_rate)}")
    try:
        if json_file is not None:
            options = {"mixtures": mixtures, "seconds": seconds, "seed": seed, "resample": resample}
            _write(json_file, _report(model, separator, options, folders, evaluations))
        if save is not None:
            for number, (folder, data, evaluation) in enumerate(
                zip(folders, sets, evaluations, strict=True), 1
            ):
                worst = evaluation.worst(_WORST, _main_metric(chosen))
                name = f"{number}_{folder.resolve().name}"
                save_examples(separator, data, evaluation, worst, save / name)
    except OSError as error:
        raise UserError(f"cannot write: {error}") from None


def _is_model(path):
    """Data are folders of audio files, and models are files or hold their files at known places."""
    if path.suffix == ".keras" or path.is_file() or (path / "best.keras").is_file():
        return True
    return any((folder / "saved_model.pb").is_file() for folder in (path, *path.glob("[0-9]*")))


def _check_outputs(json_file, save):
    if json_file is not None:
        if json_file.is_dir():
            raise UserError(f"--json: {json_file} is a folder; give a file")
        if not json_file.absolute().parent.is_dir():
            raise UserError(f"--json: there is no folder {json_file.parent}")
    if save is not None and save.exists():
        raise UserError(f"--save: {save} exists; give a new folder, or remove it first")


@contextmanager
def _warnings_in_lines():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: _say(" ".join(str(message).split()))
        yield


@contextmanager
def _progress(folder):
    """Yields a function of the number of mixtures that are done and of all."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed} of {task.total} mixtures, left:"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(str(folder), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _main_metric(metrics):
    """By which mixtures are the worst."""
    return "si-snri" if "si-snri" in metrics else metrics[0]


def _print(model, folders, evaluations, metrics):
    """The table on stdout, with the worst mixtures below it; what is missing on stderr."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=str(model), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("data", overflow="fold", min_width=12)
    table.add_column("mixtures", justify="right", min_width=8)
    for metric in metrics:
        table.add_column(_LABELS[metric], justify="right")
    for folder, evaluation in zip(folders, evaluations, strict=True):
        cells = [_cell(metric, row) for metric, row in evaluation.summary().items()]
        table.add_row(str(folder), str(len(evaluation.mixtures)), *cells)
    console = Console()
    console.print(table)
    metric = _main_metric(metrics)
    for folder, evaluation in zip(folders, evaluations, strict=True):
        console.print(f"lowest {metric} in {folder}:", highlight=False, markup=False)
        for index in evaluation.worst(_WORST, metric):
            mixture = evaluation.mixtures[index]
            line = f"{mixture.values[metric]:8.2f}  {index}  {mixture.name}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        for (missing, reason), number in sorted(evaluation.problems().items()):
            _say(
                f"{folder}: no {missing} of {number} of {len(evaluation.mixtures)} mixtures: "
                f"{reason}"
            )


def _cell(metric, row):
    """Mean, and the interval below it."""
    if row["mean"] is None:
        return "–"
    digits = 3 if metric == "stoi" else 2
    low, high = row["interval_95"]
    return f"{row['mean']:.{digits}f}\n{low:.{digits}f}…{high:.{digits}f}"


def _report(model, separator, options, folders, evaluations):
    import keras

    packages = ["keras", keras.backend.backend(), "numpy", "fast-bss-eval", "pystoi", "pesq"]
    return {
        "model": "bundled" if model is None else str(model),
        "num_sources": separator.num_sources,
        "sample_rate": separator.sample_rate,
        "options": options,
        "pesq": describe_pesq(separator.sample_rate),
        "versions": {
            "keras_sep": keras_sep.__version__,
            **{package: _version(package) for package in packages},
        },
        "data": [
            {"folder": str(folder), **evaluation.to_dict()}
            for folder, evaluation in zip(folders, evaluations, strict=True)
        ],
    }


def _version(package):
    try:
        return version(package)
    except ImportError:
        return None


def _write(path, report):
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _say(message):
    print(f"keras-sep: {message}", file=sys.stderr)
