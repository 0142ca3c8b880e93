"""The rewriter: turns the text of a file of YOLOv5 into the patched text and back. It does not touch the disk."""
