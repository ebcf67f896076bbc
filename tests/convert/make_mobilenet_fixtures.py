"""Make fixtures/mobilenets.json with torchvision and timm themselves.

torchvision's compiled parts do not load beside every PyTorch, so in an environment of its own:

    python -m venv peers
    peers/bin/pip install torch==2.13.0 torchvision==0.28.0 timm==1.0.31
    peers/bin/python tests/convert/make_mobilenet_fixtures.py

The weights come from the tensors' names (`mobilenet_weights.py`): names, shapes and the logits are
all that is kept.
"""

import json
from pathlib import Path

import torch
from mobilenet_weights import images, tensor

# torchvision registers shapes of operators that only its compiled parts define.
for operator in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, operator):
        torch.library.define(
            f"torchvision::{operator}",
            "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        )

import timm  # noqa: E402
import torchvision  # noqa: E402

PATH = Path(__file__).parent / "fixtures" / "mobilenets.json"
MODELS = {
    "torchvision/mobilenet_v2": torchvision.models.mobilenet_v2,
    "torchvision/mobilenet_v3_small": torchvision.models.mobilenet_v3_small,
    "torchvision/mobilenet_v3_large": torchvision.models.mobilenet_v3_large,
    **{
        f"timm/{name}": lambda num_classes, name=name: timm.create_model(
            name, num_classes=num_classes
        )
        for name in (
            "mobilenetv2_050",
            "mobilenetv3_small_050",
            "mobilenetv3_large_100",
            "tf_mobilenetv3_small_075",
        )
    },
}


def main():
    fixtures = {}
    for name, make in MODELS.items():
        model = make(num_classes=5).eval()
        state = {
            key: value
            for key, value in model.state_dict().items()
            if not key.endswith("num_batches_tracked")
        }
        shapes = {key: list(value.shape) for key, value in state.items()}
        made = {key: torch.from_numpy(tensor(key, value.shape)) for key, value in state.items()}
        model.load_state_dict(made, strict=False)
        with torch.no_grad():
            # In float64: the reference has no rounding of its own.
            logits = model.double()(torch.from_numpy(images().transpose(0, 3, 1, 2)).double())
        fixtures[name] = {"logits": logits[0].tolist(), "shapes": shapes}
        print(name, fixtures[name]["logits"])
    PATH.write_text(json.dumps(fixtures) + "\n")


if __name__ == "__main__":
    main()
