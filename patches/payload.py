"""The files that a checkout receives: the backbone package and the model yamls."""

from __future__ import annotations

from pathlib import Path

from .checkout import Checkout

OUR_ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ("models/backbone/*.py", "models/yolov5-efficientvit*.yaml", "models/yolov5-timm*.yaml")

# Three 5x5 max-pools in a row, which is SPPF, see the windows of SPP; YOLOv5 v5.0 knows only the latter.
SPPF_ROW, SPP_ROW = "SPPF, [1024, 5]", "SPP, [1024, [5, 9, 13]]"


def payload(checkout: Checkout) -> dict[str, bytes]:
    """Return the files for this checkout, by their name in it."""
    names = sorted(path.relative_to(OUR_ROOT).as_posix() for pattern in PATTERNS for path in OUR_ROOT.glob(pattern))
    files = {name: (OUR_ROOT / name).read_bytes() for name in names}
    if not checkout.defines("SPPF"):
        for name in names:
            if name.endswith(".yaml"):
                files[name] = files[name].replace(SPPF_ROW.encode(), SPP_ROW.encode())
    return files
