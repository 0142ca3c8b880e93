"""Keeps classes the same where a checkout's files are imported under two names.

YOLOv5's pip package puts its own folder on `sys.path`. A checkpoint of a clone, which names `models.yolo`, then finds
the files that are imported as `yolov5.models.yolo` already. Python makes separate modules of the two names, and so
separate classes: `isinstance(layer, Backbone)` in `models/yolo.py` would be False for a layer of the other.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def share_classes(namespace: dict[str, Any], *names: str) -> None:
    """Give a module the classes of its first import, if the same file was imported under another name before.

    Classes that pickles contain must not be shared: a pickle would then name a module that other checkouts lack.

    Args:
        namespace: the module's `globals()`.
        names: its classes to share.
    """
    own_name, own_file = namespace["__name__"], os.path.realpath(namespace["__file__"])
    ending = ".models.backbone." + own_name.rpartition("models.backbone.")[2]
    for name in [name for name in sys.modules if f".{name}".endswith(ending) and name != own_name]:
        first = getattr(sys.modules[name], "__dict__", {})
        if os.path.realpath(first.get("__file__") or "") == own_file:
            namespace.update({shared: first[shared] for shared in names if shared in first})
