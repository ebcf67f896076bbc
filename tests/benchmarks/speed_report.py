"""How the speeds of Conv-TasNet are told: the machine, a table, a picture."""

import json
import os
import platform
from importlib import metadata
from pathlib import Path

TITLES = {
    "inference": "inference, paper's best, 4 s",
    "bfloat16": "inference, paper's best, 4 s, bfloat16",
    "small": "training step, small, 2 x 4 s",
    "paper": "training step, paper's best, 2 x 4 s",
    "products": "the products of the inference alone",
}


def machine() -> dict:
    """What the results depend on."""
    versions = {name: _version(name) for name in ("keras", "tensorflow", "jax", "torch")}
    model = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {"cpu": f"{os.cpu_count()} x {model[0] if model else platform.machine()}", **versions}


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def earlier_results(path, conditions) -> dict:
    """What the file holds, if it is of this machine and these versions."""
    content = json.loads(path.read_text()) if path.exists() else {}
    return content["results"] if content.get("machine") == conditions else {}


def title(task):
    kept = ", memory kept" if task.endswith("_kept") else ""
    return TITLES[task.removesuffix("_kept")] + kept


def table(task, times):
    """Medians, and torchaudio's over them."""
    from rich.table import Table

    peers = [name for name in ("torchaudio", "torchaudio, torch.compile") if name in times]
    rows = Table(title(task), "seconds", *[f"{name} / this" for name in peers])
    for contender, seconds in times.items():
        ratios = [f"{times[name] / seconds:.2f}" for name in peers]
        rows.add_row(contender, f"{seconds:.3f}", *ratios)
    return rows


def draw(results, path):
    """One panel a task, torchaudio's time over each contender's."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    results = {task: times for task, times in results.items() if "torchaudio" in times}
    if not results:
        return
    figure, panels = pyplot.subplots(
        len(results), 1, figsize=(7, 2.2 * len(results)), squeeze=False, layout="constrained"
    )
    for panel, (task, times) in zip(panels[:, 0], results.items(), strict=True):
        names = list(times)[::-1]
        bars = panel.barh(names, [times["torchaudio"] / times[name] for name in names])
        panel.bar_label(bars, [f" {times[name]:.3f} s" for name in names])
        panel.axvline(1, color="black", linewidth=1)
        panel.set(title=title(task), xlabel="times as fast as torchaudio")
        panel.margins(x=0.15)
    figure.savefig(path, dpi=120)
