"""Training of VQVAE2 beside a published PyTorch design, on photographs, for equal time.

    python tests/benchmarks/vq_vae_2_training.py photographs [--minutes 5]

`photographs` is what examples/data/fetch_photographs.py makes. The other model is the design of
rosinality's vq-vae-2-pytorch, built here of PyTorch's layers: normally distributed codes, one-hot
EMA updates without restarts, its loss and Adam at 3e-4, but widths, crops and batches as of ours
(its defaults are 128 channels, 32 in residual blocks, 256×256 pixels, batches of 128). Ours has
Adam at 1e-3, k-means and restarts; minutes are short for 3e-4. All see the same crops in the same
order and start from scratch, compilation included; one process each, which train in turns of ten
seconds, so that what else the machine does meets all alike. Ours keep freed memory, as
examples/train_vq_vae_2.py does; the other model runs as it is, and once more so.

Prints test MSE (pixels in -1 to 1), codes in use and medians of the seconds a step, and writes
JSON. `--clock cpu` counts the CPU time of each process instead of the clock on the wall, for
machines that are shared.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from keras_sep.memory import keep_freed_memory

BATCH, SIZE, CODES, DIM, BLOCKS = 32, 64, 512, 64, 2
TEST_BATCHES, TURN = 64, 10.0
CONTENDERS = {
    "published": "torch",
    "published, memory kept": "torch",
    "TensorFlow, graph": "tensorflow",
    "TensorFlow, XLA": "tensorflow",
    "JAX": "jax",
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def crops(folder: Path, split: str):
    from keras_sep.data import ImageCrops

    fixed = split == "test"
    batches = TEST_BATCHES if fixed else 10**6
    return ImageCrops(folder / split, SIZE, BATCH, batches, fixed=fixed)


def train(step, data, clock: str) -> dict:
    """Steps for a turn whenever a line comes in, up to an empty one.

    The first steps, with compilation, count for the time only.
    """
    now, walls, cpus = CLOCKS[clock], [], []
    used, index = 0.0, 0
    print(json.dumps({"used": used}), flush=True)
    for _ in iter(sys.stdin.readline, "\n"):
        start = now()
        while now() - start < TURN:
            (images,) = data[index]
            wall, cpu = time.perf_counter(), time.process_time()
            step(images)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
            index += 1
        used += now() - start
        print(json.dumps({"used": used}), flush=True)
    return {
        "steps": index,
        "seconds": used,
        "step_seconds": statistics.median(walls[3:] or walls),
        "step_cpu_seconds": statistics.median(cpus[3:] or cpus),
    }


def ours(folder: Path, width: int, clock: str, jit_compile: bool) -> dict:
    import keras

    import keras_sep

    keras.utils.set_random_seed(0)
    model = keras_sep.models.VQVAE2(
        CODES, DIM, width, width // 2, BLOCKS, init="kmeans", restart_threshold=0.5
    )
    model.compile(keras.optimizers.Adam(1e-3), "mse", jit_compile=jit_compile)
    result = train(model.train_on_batch, crops(folder, "train"), clock)
    scores = model.evaluate(crops(folder, "test"), return_dict=True, verbose=0)
    result["mse"] = scores["reconstruction_loss"]
    result["usage"] = [scores["top_usage"], scores["bottom_usage"]]
    return result


def published(folder: Path, width: int, clock: str) -> dict:
    import torch
    from torch import nn
    from torch.nn import functional

    class Quantizer(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("codes", torch.randn(CODES, DIM))
            self.register_buffer("counts", torch.ones(CODES))
            self.register_buffer("sums", self.codes.clone())

        def forward(self, x):
            x = x.permute(0, 2, 3, 1)
            flat = x.reshape(-1, DIM)
            norms = flat.square().sum(1, keepdim=True), self.codes.square().sum(1)
            indices = (norms[0] - 2 * flat @ self.codes.T + norms[1]).argmin(1)
            nearest = functional.embedding(indices, self.codes).view(x.shape)
            if self.training:
                self.move(flat.detach(), functional.one_hot(indices, CODES).to(flat.dtype))
            loss = (nearest.detach() - x).square().mean()
            return (x + (nearest - x).detach()).permute(0, 3, 1, 2), loss, indices

        @torch.no_grad()
        def move(self, flat, one_hot):
            self.counts.mul_(0.99).add_(one_hot.sum(0), alpha=0.01)
            self.sums.mul_(0.99).add_(one_hot.T @ flat, alpha=0.01)
            total = self.counts.sum()
            smoothed = (self.counts + 1e-5) / (total + CODES * 1e-5) * total
            self.codes.copy_(self.sums / smoothed[:, None])

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Conv2d(width, width // 2, 3, padding=1)
            self.narrow = nn.Conv2d(width // 2, width, 1)

        def forward(self, x):
            return x + self.narrow(functional.relu(self.wide(functional.relu(x))))

    def blocks():
        return [Block() for _ in range(BLOCKS)] + [nn.ReLU()]

    def down(channels, outputs):
        return nn.Conv2d(channels, outputs, 4, 2, 1)

    def up(channels, outputs):
        return nn.ConvTranspose2d(channels, outputs, 4, 2, 1)

    def same(channels, outputs):
        return nn.Conv2d(channels, outputs, 3, padding=1)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            half, relu = width // 2, nn.ReLU
            self.bottom = nn.Sequential(
                down(3, half), relu(), down(half, width), relu(), same(width, width), *blocks()
            )
            self.top = nn.Sequential(down(width, half), relu(), same(half, width), *blocks())
            self.to_top, self.to_bottom = nn.Conv2d(width, DIM, 1), nn.Conv2d(width + DIM, DIM, 1)
            self.quantizers = nn.ModuleList([Quantizer(), Quantizer()])
            self.conditioner = nn.Sequential(same(DIM, width), *blocks(), up(width, DIM))
            self.upsampler = up(DIM, DIM)
            self.decoder = nn.Sequential(
                same(2 * DIM, width), *blocks(), up(width, half), relu(), up(half, 3)
            )

        def forward(self, images):
            bottom = self.bottom(images)
            top, top_loss, top_codes = self.quantizers[0](self.to_top(self.top(bottom)))
            both = torch.cat([self.conditioner(top), bottom], 1)
            bottom, loss, codes = self.quantizers[1](self.to_bottom(both))
            images = self.decoder(torch.cat([self.upsampler(top), bottom], 1))
            return images, top_loss + loss, (top_codes, codes)

    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), 3e-4)

    def tensor(images):
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def step(images):
        images = tensor(images)
        optimizer.zero_grad()
        reconstruction, loss, _ = model(images)
        (functional.mse_loss(reconstruction, images) + 0.25 * loss).backward()
        optimizer.step()

    result = train(step, crops(folder, "train"), clock)
    model.eval()
    test, errors, used = crops(folder, "test"), [], [set(), set()]
    with torch.no_grad():
        for index in range(len(test)):
            images = tensor(test[index][0])
            reconstruction, _, codes = model(images)
            errors.append(functional.mse_loss(reconstruction, images).item())
            for level in range(2):
                used[level].update(codes[level].tolist())
    result["mse"] = statistics.mean(errors)
    result["usage"] = [len(codes) / CODES for codes in used]
    return result


def answer(child) -> dict:
    """The next dictionary that it prints; libraries may print other things before."""
    for line in child.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise SystemExit(f"{' '.join(child.args)} failed")


def in_turns(contenders: list[str], minutes: float, status) -> dict:
    """Results by contender."""
    children, used, results = {}, dict.fromkeys(contenders, 0.0), {}
    try:
        for name in contenders:
            children[name] = subprocess.Popen(
                [sys.executable, __file__, *sys.argv[1:], "--child", name],
                env={**os.environ, "KERAS_BACKEND": CONTENDERS[name]},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            answer(children[name])
        while min(used.values()) < 60 * minutes:
            for name, child in children.items():
                if used[name] < 60 * minutes:
                    done = ", ".join(f"{key} {seconds:.0f} s" for key, seconds in used.items())
                    status.update(f"{name} trains; so far {done}")
                    print("go", file=child.stdin, flush=True)
                    used[name] = answer(child)["used"]
        for name, child in children.items():
            status.update(f"{name} is scored")
            print(file=child.stdin, flush=True)
            results[name] = answer(child)
    finally:
        for child in children.values():
            child.kill()
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--minutes", type=float, default=5.0, help="for each")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--hidden-dim", type=int, default=64, help="channels of all")
    parser.add_argument("--json", type=Path, default=Path("out/vq_vae_2_training.json"))
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        if options.child != "published":
            keep_freed_memory()
        arguments = options.photographs, options.hidden_dim, options.clock
        if options.child.startswith("published"):
            result = published(*arguments)
        else:
            result = ours(*arguments, jit_compile=not options.child.endswith("graph"))
        print(json.dumps(result))
        return

    from rich.console import Console
    from rich.table import Table

    with Console(stderr=True).status("") as status:
        results = in_turns(options.contenders, options.minutes, status)
    table = Table("", "steps", "s/step", "CPU s/step", "× faster", "test MSE", "codes in use")
    first = next(iter(results.values()))
    for name, row in results.items():
        table.add_row(
            name,
            f"{row['steps']}",
            f"{row['step_seconds']:.3f}",
            f"{row['step_cpu_seconds']:.3f}",
            f"{first['step_seconds'] / row['step_seconds']:.2f}",
            f"{row['mse']:.5f}",
            ", ".join(f"{share:.0%}" for share in row["usage"]),
        )
    Console(width=80).print(table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
