"""Convert an ONNX file for the NPU of a Rockchip processor.

    python export_rknn.py MODEL.onnx PLATFORM MODEL.rknn PHOTO

PLATFORM is such as rk3588. The result takes RGB photos of bytes, `(1, H, W, 3)`. The toolkit's simulator runs it on the
photo, and the differences to ONNX Runtime are printed. Needs rknn-toolkit2.
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


def checked(step: str, code: int) -> None:
    """End with a message if a step of the toolkit gave another code than 0."""
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
checked(
    f"compile for {platform}",
    toolkit.config([[0] * channels], [[255] * channels], target_platform=platform),
)
checked(f"read {model}", toolkit.load_onnx(model))
checked(f"compile {model} for {platform}", toolkit.build(do_quantization=False))
checked(f"write {converted}", toolkit.export_rknn(converted))
checked("start its simulator", toolkit.init_runtime())
found = toolkit.inference([np.ascontiguousarray(batch)], data_format=["nhwc"])[0]

difference = np.abs(found - expected)
boxes, scores = difference[..., :4].max(), difference[..., 4:].max()
print(f"{converted}: boxes differ from ONNX Runtime's by up to {boxes:.3f} px, scores by up to {scores:.6f}")
