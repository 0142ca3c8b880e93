#!/usr/bin/env python3
"""Put EfficientViT backbones into a YOLOv5 checkout.

Use: python apply_patch.py path/to/yolov5

It needs only Python 3.8 or later. Python 2.7 must be able to parse this file and patches/__init__.py, which tells users
of an old Python what is needed.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # python -I does not add it

from patches.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
