"""Backbones for YOLOv5 that return several feature maps from one yaml row.

`contract` says what such a backbone is, `registry` which names a yaml may use, and `yolo` is what the lines inserted
into YOLOv5 call. Each network has a folder of its own, and is imported when a yaml names it.
"""
