# make demo   patch a real YOLOv5, train, validate, detect, and show the result; COMPARE=1 trains a stock model as well
# make test   lint, types and all tests, on five real releases of YOLOv5
# make test-training  every way to train, validate and detect, on the newest of them
# make test-exports   every export format and runtime that a machine without a GPU can run, on the newest of them
# make gpu-wheels  fetch what `make gpu` needs, on a machine with a network
# make gpu    tests and benchmarks on a machine with a GPU, with Python, torch and timm, and without a network
# make clean  remove what these have made
#
# They set up a virtual environment of their own first; all they need is Python, make and a package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RELEASES := 5.0.5 6.0.7 6.1.9 6.2.3 7.0.14
DEMO_RELEASE := 7.0.14
# `make build/runtimes/rknn/installed` adds RKNN, which wants Python 3.12 or older, 6 GiB, and minutes for its simulator.
RUNTIMES := ncnn mnn opencv-4.8 opencv-4.10 opencv-5 paddle executorch sahi tfjs notebook
YOLOV5 ?= build/hosts/$(DEMO_RELEASE)/yolov5

# Some containers set this. Each of the hundred processes below would then compile torch anew, for several seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-training test-exports lint gpu-wheels gpu clean

demo: $(VENV)/installed build/hosts/$(DEMO_RELEASE)/unpacked
	$(BIN)/python -m demo $(YOLOV5) $(if $(COMPARE),--compare)

test: lint $(RELEASES:%=build/hosts/%/unpacked)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --require-hosts -n 2 --dist loadfile --no-loadscope-reorder

test-training: build/hosts/$(DEMO_RELEASE)/unpacked
	$(BIN)/python -m pytest --yolov5=build/hosts/$(DEMO_RELEASE)/yolov5 -m training

test-exports: $(VENV)-export/installed build/hosts/$(DEMO_RELEASE)/unpacked $(RUNTIMES:%=build/runtimes/%/installed)
	$(VENV)-export/bin/python -m pytest --yolov5=$(YOLOV5) -m exports

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/actionlint -shellcheck= .github/workflows/*.yml

# Wheels for another machine than this one: Python 3.12, Linux, x86-64.
gpu-wheels: build/hosts/$(DEMO_RELEASE)/unpacked
	rm -rf build/gpu/wheels
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --dest build/gpu/wheels \
	  --python-version 3.12 --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
	  --platform manylinux2014_x86_64 -r requirements-gpu.txt
	du -sh build/gpu/wheels

gpu:
	python3 -m pip install --quiet --no-index --no-deps --upgrade --target build/gpu/site build/gpu/wheels/*.whl
	PYTHONPATH=$(CURDIR)/build/gpu/site python3 -m benchmarks.gpu $(GPU_OPTIONS)

clean:
	rm -rf $(VENV) $(VENV)-export build .pytest_cache .mypy_cache .ruff_cache

# uv resolves in seconds what takes pip's resolver minutes.
$(VENV)/installed: requirements-dev.txt requirements-host.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --python $(BIN)/python -r requirements-dev.txt
	touch $@

# TensorFlow and its like are large and hold other packages back, hence an environment of their own.
$(VENV)-export/installed: requirements-export.txt requirements-dev.txt requirements-host.txt
	$(PYTHON) -m venv --clear $(VENV)-export
	$(VENV)-export/bin/python -m pip install --quiet uv
	$(VENV)-export/bin/uv pip install --python $(VENV)-export/bin/python -r requirements-export.txt
	touch $@

# Runtimes that YOLOv5 does not run itself. They want different versions of NumPy and torch.
$(patsubst %,build/runtimes/%/installed,paddle executorch sahi notebook): requirements-host.txt
build/runtimes/%/installed: tests/runtimes/requirements/%.txt | $(VENV)/installed
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/runtimes/$*
	$(BIN)/uv pip install --quiet --python build/runtimes/$*/bin/python -r $<
	if test $* = tfjs && command -v npm; then npm install --silent --prefix build/runtimes/tfjs @tensorflow/tfjs@4.22.0; fi
	touch $@

# The pip package is YOLOv5 as released, with absolute imports; it is unpacked, not installed.
build/hosts/%/unpacked: | $(VENV)/installed
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --target build/hosts/$* yolov5==$*
	touch $@
