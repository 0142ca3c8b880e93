"""Backbones for YOLOv5 that return several feature maps from one yaml row.

`contract` says what such a backbone is, `index_rule` how its maps are numbered, `registry` which names a yaml may
use, and `host` is what the lines inserted into YOLOv5's models/yolo.py call. The networks live in modules of their
own and are imported when a yaml asks for them.
"""
