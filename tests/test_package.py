"""The plan of the house: who may import whom, and what `import keras_sep` costs and changes."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import keras_sep

PACKAGE = Path(keras_sep.__file__).parent
BACKENDS = {"tensorflow", "jax", "jaxlib", "torch"}

# What each subpackage may know besides itself.
ARROWS = {
    "layers": set(),
    "models": {"layers", "metrics"},
    "losses": set(),
    "metrics": {"losses"},
    "callbacks": set(),
    "codec": {"export", "inference", "models"},
    "data": set(),
    "convert": {"models"},
    "export": {"models", "layers"},
    "inference": {"backend_name", "export", "models", "layers", "data"},
    "evaluation": {"inference", "data"},
}


def modules(folder=PACKAGE):
    return sorted(folder.rglob("*.py"))


def imported(path):
    """Dotted names of all imports of a file, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_backends_are_imported_in_few_places_only():
    for path in modules():
        inside = path.relative_to(PACKAGE)
        places = (
            "layers/backend_forms.py",
            "layers/backend_programs.py",
            "layers/convolutions_torch.py",
            "layers/global_norm_torch.py",
            "convert/files.py",
        )
        if inside.parts[0] != "export" and str(inside) not in places:
            assert not {name.split(".")[0] for name in imported(path)} & BACKENDS, inside


@pytest.mark.parametrize("subpackage", ARROWS)
def test_arrows_point_one_way(subpackage):
    allowed = ARROWS[subpackage] | {subpackage}
    for path in modules(PACKAGE / subpackage):
        names = (name.split(".") for name in imported(path))
        known = {name[1] for name in names if name[0] == "keras_sep" and len(name) > 1}
        assert known <= allowed, path.relative_to(PACKAGE)


def test_every_subpackage_has_its_arrows():
    subpackages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert subpackages - {"cli"} == set(ARROWS)


IMPORT = """
import json, sys
import keras

def settings():
    return [keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format(),
            keras.config.dtype_policy().name, keras.config.backend()]

before, modules = settings(), set(sys.modules)
import keras_sep
print(json.dumps({
    "modules": sorted({name.split(".")[0] for name in set(sys.modules) - modules}),
    "changed": settings() != before,
}))
"""


def test_import_is_cheap_and_changes_nothing():
    """Beyond `import keras` it imports ourselves and what comes with Python."""
    child = subprocess.run(
        [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True
    )
    result = json.loads(child.stdout.splitlines()[-1])
    assert set(result["modules"]) - sys.stdlib_module_names == {"keras_sep"}
    assert not result["changed"]
