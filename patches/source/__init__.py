"""The rewriter: turns the text of a file of YOLOv5 into the patched text and back, without reading or writing files."""
