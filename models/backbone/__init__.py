"""Backbones for YOLOv5 that return several feature maps from one yaml row.

`contract` says what such a backbone is, `registry` which names a yaml may use, and `yolo` is what the lines inserted
into YOLOv5 call. The networks lie in rooms of their own and are imported when a yaml asks for them.
"""
