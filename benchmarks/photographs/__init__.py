"""How well detectors learn photographs: ours and YOLOv5's own, trained by real YOLOv5 with several seeds."""
