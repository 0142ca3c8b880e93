"""Writes docs/timm.md from the results of `timm_sweep`."""

from __future__ import annotations

from typing import Any

HEAD = """# The models of timm as backbones

One model of each family (module) of timm {timm} that offers `features_only`: its smallest, of those that give maps of
stride 8, 16 and 32 if it has any. Each was taken through this for real, without weights, in a patched YOLOv5 7.0 on a
CPU, in a process of its own:

- built into `yolov5-timm.yaml`; features compared with those of timm's own model (largest difference: {difference:g});
- one training step, with a finite gradient for every parameter, and an update of the moving average;
- maps and detections at 256x256 and 160x224 (128x192 for stride 64), of the averaged model too, and in bfloat16;
- saved whole and loaded, with the same detections but for rounding;
- fused, with the largest error of the features, over their largest value;
- traced by TorchScript, and the trace run at four other image sizes beside PyTorch;
- ONNX for a sample of ten: {onnx} were exported and gave the same maps.

Made by `.venv/bin/python -m benchmarks.timm_sweep`; the figures are in `benchmarks/results/timm_sweep.json`.

- Families that can give strides 8, 16 and 32: {fitting}. Pass: {passing} ({share:.1f} %).
- Other families: {others}. Pass with the strides they have: {others_passing}. A single map stands in a yaml with one
  level of detection, which the neck of `yolov5-timm.yaml` is not.

Sizes: `any` are all that YOLOv5 uses. `multiples of 256` and the like: smaller images are padded with zeros, and the
maps cut back. `one, here 256`: the model is built for what YOLOv5 validates with, here 256 for the `image_size` 224 in
the row. Without `image_size` it is 672, for --img-size 640. Smaller images are padded.

Trace: the largest error at other sizes. `one size (said)`: the model's own code fixes the size when it is traced. The
log says so, and the exported file ends with an error at other sizes.

| family | smallest model | strides | parameters | image sizes | outcome | fuse error | trace at other sizes | remarks |
|---|---|---|---|---|---|---|---|---|
"""


def page(results: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    rows = results["rows"]
    fitting = [row for row in rows if row["strides"] == [8, 16, 32]]
    others = [row for row in rows if row["strides"] != [8, 16, 32]]
    passing = [row for row in fitting if "failed" not in row]
    head = HEAD.format(
        timm=results["timm"],
        difference=max((row["difference from timm"] for row in rows if "failed" not in row), default=0.0),
        onnx=sum("onnx error" in row for row in rows),
        fitting=len(fitting),
        passing=len(passing),
        share=100 * len(passing) / max(1, len(fitting)),
        others=len(others),
        others_passing=sum("failed" not in row for row in others),
    )
    return head + "".join(line(row) + "\n" for row in rows)


def line(row: dict[str, Any]) -> str:
    """Return one row of the table."""
    strides = ", ".join(map(str, row["strides"]))
    start = f"| {row['family']} | {row['model']} | {strides} |"
    if "failed" in row:
        return f"{start} | | fails | | | {one_line(row['failed'])} |"
    remarks = []
    if "onnx error" in row:
        remarks.append(f"ONNX error {row['onnx error']:.0e}")
    if "onnx failed" in row:
        remarks.append(f"ONNX export fails in torch: {one_line(row['onnx failed'])}")
    if "fuse error in float64" in row:
        remarks.append(f"fuse error {row['fuse error in float64']:.0e} in float64: it is float32's own rounding")
    if row["norms left"]:
        remarks.append(f"{row['norms left']} batch norms not foldable")
    error = one_digit(row["fuse error"])
    trace = "one size (said)" if row["trace of one size"] else one_digit(row["trace error"])
    parameters = f"{row['parameters'] / 1e6:.1f} M"
    return (
        f"{start} {parameters} | {describe_sizes(row['sizes'])} | passes | {error} | {trace} | {', '.join(remarks)} |"
    )


def one_digit(error: float) -> str:
    """Return an error with one digit."""
    return f"{error:.0e}" if error else "0"


def describe_sizes(rule: list[int]) -> str:
    """Return in words which image sizes a model takes: its step, smallest and largest size in pixels."""
    step, smallest, largest = rule
    if largest:
        return f"one, here {largest}"
    if step > 32:
        return f"multiples of {step}"
    return "any" if smallest == step else f"from {smallest}"


def one_line(text: str) -> str:
    """Return an error as one cell of the table."""
    text = " ".join(text.split()).replace("|", "/")
    return text if len(text) <= 400 else text[:400] + "…"
