"""The rewriter: puts EfficientViT backbones into a YOLOv5 checkout, and takes them out again.

Data flows one way: `anchors` finds places in models/yolo.py, `rewrite` turns its text into the patched text, `plan`
holds what would change in a checkout, `transaction` writes it. Only the standard library is used.
"""

PROJECT = "yolov5-efficientvit"
__version__ = "0.1.0"
