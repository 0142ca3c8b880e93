"""Convert an ONNX file for the NPU of a Rockchip processor.

    python export_rknn.py MODEL.onnx PLATFORM MODEL.rknn PHOTO

PLATFORM is for example rk3588. The input of the result is an RGB photo in bytes, `(1, H, W, 3)`. The toolkit's
simulator runs it on the photo, and the differences from ONNX Runtime are printed. It needs rknn-toolkit2.
"""

import sys

if len(sys.argv) != 5:
    sys.exit(__doc__)
try:
    import cv2
    import numpy as np
    import onnxruntime
    import pkg_resources  # noqa: F401  the toolkit imports it late
    from rknn.api import RKNN
except ImportError as error:
    sys.exit(f"this Python lacks a package: {error}. Run: python -m pip install rknn-toolkit2 'setuptools<81'")


def require_success(step: str, code: int) -> None:
    """Exit with a message if a step of the toolkit returned another code than 0."""
    if code != 0:
        sys.exit(f"rknn-toolkit2 cannot {step}; its reason stands above, behind E. Nothing else was tried.")


model, platform, converted, photo = sys.argv[1:]
pixels = cv2.imread(photo)
if pixels is None:
    sys.exit(f"{photo} is not there or no image; give a photo of what the detector is to find")
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
shape = session.get_inputs()[0].shape
if not all(isinstance(side, int) for side in shape):
    sys.exit(f"{model} takes images of any size, and an NPU wants one size: export it again without --dynamic")
batch = cv2.resize(pixels, shape[:1:-1])[None, ..., ::-1]
(expected,) = session.run(["output0"], {"images": np.ascontiguousarray(batch.transpose(0, 3, 1, 2) / np.float32(255))})

toolkit = RKNN()
channels = shape[1]
code = toolkit.config([[0] * channels], [[255] * channels], target_platform=platform)
require_success(f"compile for {platform}", code)
require_success(f"read {model}", toolkit.load_onnx(model))
require_success(f"compile {model} for {platform}", toolkit.build(do_quantization=False))
require_success(f"write {converted}", toolkit.export_rknn(converted))
require_success("start its simulator", toolkit.init_runtime())
found = toolkit.inference([np.ascontiguousarray(batch)], data_format=["nhwc"])[0]

difference = np.abs(found - expected)
boxes, scores = difference[..., :4].max(), difference[..., 4:].max()
print(f"{converted}: boxes differ from ONNX Runtime's by up to {boxes:.3f} px, scores by up to {scores:.6f}")
