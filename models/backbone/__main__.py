"""The commands for a patched checkout: `python -m models.backbone list`, `... look` and `... move-over`.

Each command's module is imported when the command runs, so `--help` and wrong arguments need no torch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any, Sequence

EXIT_CODES = "exit codes: 0 done; 1 failed, or nothing found; 2 wrong arguments; 130 interrupted"
LARGEST_IMAGE = 8192


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = vars(build_parser(f"python -m {__package__}").parse_args(arguments))
    command = importlib.import_module(f".tools.{options.pop('module')}", __package__)
    try:
        code: int = command.run(**options)
    except KeyboardInterrupt:
        return 130
    return code


def build_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of the command line; its options are a command's `module`, and the arguments of its `run`."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Commands for a YOLOv5 checkout that yolov5-efficientvit has patched. Run them in its root.",
        epilog=f"'{program} COMMAND --help' shows the arguments of a command. {EXIT_CODES}",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_list(commands)
    add_look(commands)
    add_move_over(commands)
    return parser


def add_list(commands: Any) -> None:
    """Add the command that lists backbones."""
    parser = commands.add_parser(
        "list",
        help="list the backbones that a yaml can name",
        description="List the backbones that a yaml can name, with their parameters and the channels of each stride. "
        "Without a pattern every model of timm is built, without storage, which takes some minutes.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("pattern", nargs="?", default="*", type=not_empty, help="such as 'convnext*'; all by default")
    parser.set_defaults(module="list")


def add_look(commands: Any) -> None:
    """Add the command that draws what a backbone sees."""
    parser = commands.add_parser(
        "look",
        help="draw the maps and the attention of a trained backbone over a photograph",
        description="Draw what the backbone of a trained detector sees in a photograph: its maps, and for EfficientViT "
        "what each head attends to, seen from one cell. Opening a checkpoint runs what is in it, as detect.py does: "
        "give files that you trust.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("weights", type=Path, help="a best.pt or last.pt of train.py")
    parser.add_argument("photo", type=Path, help="an image file")
    parser.add_argument("--output", type=Path, help="the picture to write; PHOTO-look.png in this folder by default")
    parser.add_argument(
        "--cell",
        type=int,
        nargs=2,
        metavar=("X", "Y"),
        help="the pixel of the photograph from which attention is shown; by default the strongest cell of the last map",
    )
    parser.add_argument("--stage", type=int, help="show all blocks of this stage; by default the last of each stage")
    parser.add_argument(
        "--img-size", type=image_size, default=640, metavar="PIXELS", help="as of detect.py; %(default)s by default"
    )
    parser.set_defaults(module="look")


def add_move_over(commands: Any) -> None:
    """Add the command that converts a detector."""
    parser = commands.add_parser(
        "move-over",
        help="convert a detector that was trained with the copied snippet",
        description="Convert a detector that was trained with the copied EfficientViT snippet, so that this checkout "
        "loads it. No code in the old file is run. The new file holds what train.py saves; give it to --weights.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("old", type=Path, help="a .pt trained with the copied snippet")
    parser.add_argument("new", type=Path, help="the file to write")
    parser.add_argument("--cfg", type=Path, help="the model yaml of the old detector; by default the one in its file")
    parser.set_defaults(module="move_over")


def not_empty(text: str) -> str:
    """Return the pattern in an argument; an empty one is a mistake in a script, and must not list every name."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def image_size(text: str) -> int:
    """Return the image size in an argument; the limit catches typing errors, memory runs out far below it."""
    if not (text.isdecimal() and 1 <= int(text) <= LARGEST_IMAGE):
        raise argparse.ArgumentTypeError(f"it must be 1 to {LARGEST_IMAGE} pixels, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
