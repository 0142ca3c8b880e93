"""The rewriter: puts EfficientViT backbones into a YOLOv5 checkout, and takes them out again.

Data flows one way: `parse_loop` and `forward` find places in a file, `edits` words the blocks that go there, `rewrite`
turns the text into the patched text, `plan` holds what would change in a checkout, `transaction` writes it. Only the
standard library is used.
"""

PROJECT = "yolov5-efficientvit"
__version__ = "0.1.0"
