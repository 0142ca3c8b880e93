#!/usr/bin/env python3
"""Put EfficientViT backbones into a YOLOv5 checkout.

Use: python apply_patch.py path/to/yolov5

Needs Python 3.8 or later and nothing else. Even Python 2.7 must be able to read this file and patches/__init__.py: that
is where the user of an old Python is told so.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # which python -I leaves out

from patches.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
