"""Quantise an exported detector to int8, for ONNX Runtime, OpenVINO or TFLite.

    python quantize.py onnxruntime best.onnx path/to/images best_int8.onnx
    python quantize.py openvino best.onnx path/to/images best_int8_openvino_model
    python quantize.py tflite best_saved_model path/to/images best_int8.tflite

It takes what `export.py --include onnx` or `saved_model` writes, without --dynamic, and a folder of photographs like
those that the detector will see: a hundred of the training images, without labels. They show the range of each layer's
values. Needs opencv-python; and onnxruntime and onnx, or openvino and nncf, or tensorflow.

What Detect computes after its convolutions stays in float32. There, positions of up to 640 px and scores of up to 1
share a tensor. One scale of 256 steps cannot represent both: every score would become 0. In TFLite files both are from
0 to 1, but the boxes would be wrong: TensorFlow 2.19 gives the square of a sigmoid the scale of its product with the
anchors.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]  # (1, 3, height, width) in RGB from 0 to 1
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def main(argv: Sequence[str] | None = None) -> int:
    """Quantise, and print what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runtime", choices=QUANTIZERS)
    parser.add_argument("model", type=Path, help="the detector: an ONNX file, or the folder of a SavedModel")
    parser.add_argument("images", type=Path, help="folder of photographs to calibrate with")
    parser.add_argument("output", type=Path, help="file or folder to write")
    parser.add_argument("--count", type=int, default=100, help="how many photographs to take (default: 100)")
    options = parser.parse_args(argv)
    wanted = "saved_model" if options.runtime == "tflite" else "onnx"
    if not (options.model.is_dir() if wanted == "saved_model" else options.model.is_file()):
        parser.error(f"{options.model} is not there; `python export.py --weights best.pt --include {wanted}` writes it")
    paths = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        parser.error(f"{options.images} holds no images")
    chosen = paths[:: max(1, len(paths) // options.count)][: options.count]
    QUANTIZERS[options.runtime](options.model, chosen, options.output)
    print(f"{options.output}: int8, calibrated with {len(chosen)} images")
    return 0


def for_onnxruntime(model: Path, paths: list[Path], output: Path) -> None:
    """Write an ONNX file with QuantizeLinear and DequantizeLinear around convolutions and matrix products."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str, height: int, width: int) -> None:
            self.feeds = ({name: image} for image in images_of(paths, height, width))

        def get_next(self) -> dict[str, Image] | None:
            return next(self.feeds, None)

    prepared = output.with_suffix(".prepared.onnx")
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    graph = onnx.load(str(prepared)).graph
    dimensions = [dimension.dim_value for dimension in graph.input[0].type.tensor_type.shape.dim]
    quantization.quantize_static(
        str(prepared),
        str(output),
        Calibration(graph.input[0].name, *fixed_size(dimensions)),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,  # on x86 ONNX Runtime multiplies these faster than signed ones
        per_channel=True,
        nodes_to_exclude=behind_the_last_convolutions(graph),
    )
    prepared.unlink()


def behind_the_last_convolutions(graph: Any) -> list[str]:
    """Return the names of the nodes between the last convolutions and the outputs of an ONNX graph."""
    producers = {name: node for node in graph.node for name in node.output}
    pending = [output.name for output in graph.output]
    found: list[str] = []
    while pending:
        node = producers.get(pending.pop())
        if node is not None and node.op_type != "Conv" and node.name not in found:
            found.append(node.name)
            pending += node.input
    return found


def for_openvino(model: Path, paths: list[Path], output: Path) -> None:
    """Write a folder with the network's .xml and .bin, named as by YOLOv5."""
    import nncf
    import openvino

    network = openvino.Core().read_model(model)
    height, width = fixed_size([d.get_length() if d.is_static else 0 for d in network.inputs[0].partial_shape])
    quantized = nncf.quantize(
        network,
        nncf.Dataset(list(images_of(paths, height, width))),
        subset_size=len(paths),
        preset=nncf.QuantizationPreset.MIXED,  # signed around SiLU, which goes below 0
        ignored_scope=nncf.IgnoredScope(names=behind_the_last_convolutions_of_openvino(network)),
    )
    output.mkdir(parents=True, exist_ok=True)
    openvino.save_model(quantized, output / f"{model.stem}.xml")


def behind_the_last_convolutions_of_openvino(network: Any) -> list[str]:
    """Return the names of the nodes between the last convolutions and the outputs of an OpenVINO network."""
    pending, found = [result.get_node() for result in network.outputs], set()
    while pending:
        node = pending.pop()
        if node.get_type_name() not in ("Convolution", "Constant", "Parameter"):
            if node.get_friendly_name() not in found and node.get_type_name() != "Result":
                found.add(node.get_friendly_name())
            pending += [value.get_source_output().get_node() for value in node.inputs()]
    return sorted(found)


def for_tflite(model: Path, paths: list[Path], output: Path) -> None:
    """Write a TFLite file with float32 inputs and outputs."""
    import tensorflow as tf

    lite = tf.lite
    network = lite.Interpreter(model_content=lite.TFLiteConverter.from_saved_model(str(model)).convert())
    _, height, width, _ = network.get_input_details()[0]["shape"]

    def calibration() -> Iterator[list[Image]]:
        for image in images_of(paths, height, width):
            yield [image.transpose(0, 2, 3, 1)]

    converter = lite.TFLiteConverter.from_saved_model(str(model))
    converter.optimizations = [lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    # only TensorFlow's debugger can keep a part of a network in float32
    names = [tensor["name"] for tensor in network.get_tensor_details()]
    decoding = [name for name in names if ("tf_detect" in name or "tf_segment" in name) and "conv2d" not in name]
    decoding += [result["name"] for result in network.get_output_details()]
    debugger = lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=calibration,
        debug_options=lite.experimental.QuantizationDebugOptions(denylisted_nodes=decoding),
    )
    output.write_bytes(debugger.get_nondebug_quantized_model())


def fixed_size(shape: Sequence[int]) -> tuple[int, int]:
    """Return height and width of an input (1, 3, height, width).

    Raises:
        SystemExit: the input is not of this shape, or a size is dynamic.
    """
    if len(shape) != 4 or shape[1] != 3 or not all(shape[2:]):
        raise SystemExit(
            f"the input of the model is {tuple(shape)}, where 0 is an open size; (1, 3, height, width) is wanted. "
            "Export without --dynamic."
        )
    return shape[2], shape[3]


def images_of(paths: Sequence[Path], height: int, width: int) -> Iterator[Image]:
    """Yield photographs as inputs of the detector: (1, 3, height, width) in RGB from 0 to 1, with grey borders."""
    for path in paths:
        photo = cv2.imread(str(path))
        if photo is None:
            raise SystemExit(f"{path} cannot be read as an image")
        scale = min(height / photo.shape[0], width / photo.shape[1])
        photo = cv2.resize(photo, (round(photo.shape[1] * scale), round(photo.shape[0] * scale)))
        top, left = (height - photo.shape[0]) // 2, (width - photo.shape[1]) // 2
        image = np.full((height, width, 3), 114, np.uint8)
        image[top : top + photo.shape[0], left : left + photo.shape[1]] = photo
        yield np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)[None], np.float32) / np.float32(255)


QUANTIZERS = {"onnxruntime": for_onnxruntime, "openvino": for_openvino, "tflite": for_tflite}

if __name__ == "__main__":
    sys.exit(main())
