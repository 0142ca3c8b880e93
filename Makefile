# make demo   patch a real YOLOv5, train, validate, detect, and show the result; COMPARE=1 trains a stock model as well
# make test   lint, types and all tests, on five real releases of YOLOv5
# make test-training  every way to train, validate and detect, on the newest of them
# make test-exports   every export format that runs on a machine without a GPU, on the newest of them
# make clean  remove what these have made
#
# They set up a virtual environment of their own first; all they need is Python, make and a package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RELEASES := 5.0.5 6.0.7 6.1.9 6.2.3 7.0.14
DEMO_RELEASE := 7.0.14
YOLOV5 ?= build/hosts/$(DEMO_RELEASE)/yolov5

.PHONY: demo test test-training test-exports lint clean

demo: $(VENV)/installed build/hosts/$(DEMO_RELEASE)/unpacked
	$(BIN)/python -m demo $(YOLOV5) $(if $(COMPARE),--compare)

test: lint $(RELEASES:%=build/hosts/%/unpacked)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --require-hosts -n 2 --dist loadfile --no-loadscope-reorder

test-training: build/hosts/$(DEMO_RELEASE)/unpacked
	$(BIN)/python -m pytest --yolov5=build/hosts/$(DEMO_RELEASE)/yolov5 -m training

test-exports: $(VENV)-export/installed build/hosts/$(DEMO_RELEASE)/unpacked
	$(VENV)-export/bin/python -m pytest --yolov5=$(YOLOV5) -m exports

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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

# The pip package is YOLOv5 as released, with absolute imports; it is unpacked, not installed.
build/hosts/%/unpacked: | $(VENV)/installed
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --target build/hosts/$* yolov5==$*
	touch $@
