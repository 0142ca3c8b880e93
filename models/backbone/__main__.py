"""What a user runs in a patched checkout: `python -m models.backbone list` and `... move-over`."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Sequence

COMMANDS = {  # its module in tools, and what it does
    "list": ("list", "list the backbones that a yaml can name: strides, channels and parameters"),
    "move-over": ("move_over", "convert a detector that was trained with the copied snippet"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Only the module of that command is imported."""
    program = f"python -m {__package__}"
    commands = "\n".join(f"  {name:<11}{purpose}" for name, (_, purpose) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=program,
        description="Commands for a YOLOv5 checkout that yolov5-efficientvit has patched. Run them in its root.",
        epilog=f"commands:\n{commands}\n\n'{program} COMMAND --help' shows the arguments of a command.\n\n"
        "exit codes: 0 done; 1 failed, or nothing found; 2 wrong arguments; 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=f"one of: {', '.join(COMMANDS)}")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="the arguments of the command")
    options = parser.parse_args(arguments)
    tool = importlib.import_module(f".tools.{COMMANDS[options.command][0]}", __package__)
    try:
        code: int = tool.main(options.arguments, f"{program} {options.command}")
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
