PYTHON ?= python3
BACKENDS ?= tensorflow jax torch

.PHONY: demo test lint bench

demo: .venv/installed
	.venv/bin/python examples/demo.py

test: .venv/installed
	@set -e; for backend in $(BACKENDS); do \
	  echo "== KERAS_BACKEND=$$backend"; \
	  KERAS_BACKEND=$$backend .venv/bin/python -m pytest -q -n auto --dist worksteal; \
	done

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

bench: .venv/installed
	.venv/bin/python tests/benchmarks/conv_tasnet_speed.py
	.venv/bin/python tests/benchmarks/depthwise_conv.py
	.venv/bin/python tests/benchmarks/memory_and_length.py
	.venv/bin/python tests/benchmarks/start_up.py

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed: make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --disable-pip-version-check -e '.[dev]'
	touch $@
