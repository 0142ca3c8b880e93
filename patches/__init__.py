"""The patch program: puts EfficientViT backbones into a YOLOv5 checkout, and takes them out again.

`source` rewrites text, `install` plans and writes the changes in a checkout, `trial` builds and runs models in a
patched checkout. `command` is the command line. Only the standard library is used.
"""

import sys

PROJECT = "yolov5-efficientvit"
__version__ = "1.0.0"

if sys.version_info < (3, 8):  # noqa: UP036 - Python 2.7 must be able to read this file; it cannot read the others
    import json

    message = (
        "the patch needs Python 3.8 or later, and this is Python {}.{}. Nothing has been changed. Run this again with "
        "a newer Python. It may be another one than you train with.".format(*sys.version_info)
    )
    error = {"kind": "old Python", "message": message, "files": []}
    try:
        if "--json" in sys.argv:
            answer = {"project": PROJECT, "version": __version__, "exit_code": 2, "changes": [], "error": error}
            sys.stdout.write(json.dumps(answer, indent=1) + "\n")
            sys.stdout.flush()
        sys.stderr.write("error: " + message + "\n")
        sys.stderr.flush()
    finally:  # the exit code is right even if the message cannot be written
        sys.exit(2)
