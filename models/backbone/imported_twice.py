"""Classes that stay one class where a checkout's files are imported under two names.

YOLOv5's pip package puts its own folder on `sys.path`, so that a checkpoint of a clone, which names `models.yolo`,
finds the same files there that are imported as `yolov5.models.yolo` already. Each name gets modules of its own, and
with them classes of its own: lines in `models/yolo.py` that look for the one `Backbone` would pass over the other.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def share_classes(namespace: dict[str, Any], *names: str) -> None:
    """Give a module the classes of its first import, if the same file was imported under another name before.

    Classes that a pickle names must not be shared: it would then name modules that are not there elsewhere.

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
