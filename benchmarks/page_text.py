"""The text of docs/benchmarks.md, which `benchmarks.page` fills with tables."""

TEXT = """\
# Speed and memory

For everyone who wants numbers: how fast the backbones and whole detectors are, and how much memory they take. To decide what to
use, see [Choosing](choosing.md).

Each table comes from the command above it; `.venv/bin/python -m benchmarks.page` writes them into this page. Candidates are
called in turns within one process. A ratio is the median over the turns, with its quartiles in brackets.

Trust the ratios, and compare milliseconds within one table only. The tables were measured on different days, on shared machines
of two kinds, and each names its processor. So the same network has other milliseconds in another table.

## The backbones beside timm's

`.venv/bin/python -m benchmarks.backbones`, on {backbones_machine}:
the same weights, maps of stride 16, 32 and 64, windows of
7x7, one image of {image_size} px in float32. Outputs agree within 1e-5. timm's networks have the memory format in which timm
makes them, PyTorch's default; "timm fused" uses timm's own folding of batch norms.

A training step is forward and backward of {training_batch} images. Memory is the largest growth of the process. The command
measures all variants {passes} times one after the other, because the load of a shared machine changes within minutes.

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="pictures/speed-dark.svg">
  <img alt="Time of each backbone, of timm and here" src="pictures/speed-light.svg">
</picture>

This is PyTorch, and `.venv/bin/python -m benchmarks.plot` draws the picture. Exported to ONNX Runtime, the two networks are
nearly equally fast: see [Exports](#exports).

{against_timm}

## Beside the machine's limit

The same command, with maps of stride 8, 16 and 32. "Plain" is the network written down from the paper (`benchmarks/plain.py`,
unfused). The last column compares the rate with this machine's fastest matrix product, 2048x2048 at {limit} GFLOP/s.

{against_limit}

`.venv/bin/python -m benchmarks.operators`, on {operators_machine},
shows where M0's time goes, in percent. The convolutions run
at {convolution_rate} GFLOP/s. The other operators are many and small. "The rest" is views, Python, and the profiler itself:

{operators}

`.venv/bin/python -m benchmarks.compiled`, on {compiled_machine},
lets `torch.compile` join the small operators. The network is
one graph for it. timm's batch norms are folded too. The first columns are with maps of stride 16, 32 and 64, as in timm, the last
five with stride 8, 16 and 32, beside the plain form:

{compiled}

## Whole detectors

`.venv/bin/python -m benchmarks.detectors`, on {detectors_machine}:
fused, 640 px, ms for a batch of 1 and images per second for
larger ones; and a training step of 8 images of 320 px. GFLOPs are for one image of 640 px. × is the time divided by the one of
the stock detector: yolov5n's for M0 and M1, yolov5s's for M2 to M4, yolov5m's for M5.

{detectors}

## Image size and batch

`.venv/bin/python -m benchmarks.scaling`, on {scaling_machine}:
fused backbones of stride 8, 16 and 32. With growing images, time for
each GFLOP falls at first. It rises again where maps exceed the 32 MiB up to which glibc keeps memory for the next time: for M5
by {rise_large} at 1280 px, and by {rise_batch} from 4 to 16 images at once.

{scaling}

## Exports

`.venv-export/bin/python -m benchmarks.exports`, on {exports_machine},
in the environment that `make test-exports` makes: ms for one
image of 640 px, the same ONNX file in both runtimes. The first rows are backbones of stride 16, 32 and 64. ONNX Runtime's threads
do not spin here; otherwise those of one network would still run during the turn of the next. OpenVINO computes in bfloat16,
its default on this processor.

{exports}

### In each runtime

`.venv-export/bin/python -m benchmarks.runtimes`, on {runtimes_machine}:
whole detectors with the decoding of boxes, one image of
640 px, in float32 except for "half". M0, M2 and M5 beside yolov5n, s and m: × is the time of ours divided by the stock detector's.
Differences are M0's from PyTorch, the largest of any side of a box, in px, and of any score. Versions are those in
`tests/runtimes/requirements/`.

{runtimes}

### int8

`.venv-export/bin/python -m benchmarks.int8 --data FOLDER best.pt ...`, on {int8_machine}:
detectors trained by
`benchmarks.photographs` on {int8_data}, {int8_size} px. YOLOv5's own val.py scores them on the validation images, one at a time. M2 had
done 32 of 60 epochs, so compare only the rows of one detector. × is the time of the same runtime in float32 divided by its time in
int8. TFLite's float32 file holds weights of 16 bits. The last row of each is made by YOLOv5's own `export.py --include tflite --int8`, the others by `examples/quantize.py`.

{int8}

### In YOLOv5's own formats

`.venv-export/bin/python -m benchmarks.formats path/to/yolov5`, on {formats_machine}:
the detector with M0 in the formats of export.py
of YOLOv5's master, against PyTorch on a photograph of 640 px. Differences are the largest of any side of a box, in px, and of
any score. ms is the median of seven calls of YOLOv5's `DetectMultiBackend`, one format after the other and not in turns, so it may
change by half from run to run. CoreML runs only on macOS. TFLite's weights have 16 bits.

{formats}

## On a GPU

`make gpu-wheels` where there is a network, then `make gpu` on a machine with a GPU: training, inference, the forms of
attention, the classifier's throughput and latency, beside timm's EfficientViT and stock YOLOv5.

{gpu}
"""
