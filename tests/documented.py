"""The commands in the documentation, as they stand there."""

import re

from tests import REPOSITORY

PAGES = sorted({*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")} - {REPOSITORY / "CHANGELOG.md"})
PROGRAM = re.compile(r"(?:[A-Z]\w*=\S+ )*(?:cd|git|make|pip|pytest|python3?|\.venv/bin/\S+)(?: |$)")
INLINE = re.compile(r"(?<!`)`((?:[A-Z]\w*=\S+ )*(?:make|pip|pytest|python3?|git -C|\.venv/bin/\S+) [^`]+)`")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OF_SHELL = ("", "bash", "sh", "shell", "console")


def commands_of(page):
    """Return the commands of a page, as written, without comments; each once."""
    text = page.read_text(encoding="utf-8")
    fences = FENCE.findall(text)
    fenced = [line for language, body in fences if language in OF_SHELL for line in body.splitlines()]
    fenced += [line for language, body in fences if language == "powershell" for line in translated(body)]
    lines = [re.sub(r"\s+# .*", "", line).strip() for line in fenced if PROGRAM.match(line)]
    return list(dict.fromkeys(lines + INLINE.findall(FENCE.sub("", text))))


def translated(body):
    """Yield the commands of PowerShell as a shell of Linux has them; an assignment goes before what follows it."""
    assignments = ""
    for line in body.splitlines():
        assigned = re.fullmatch(r"\$env:(\w+) = '(.*)'", line)
        assignments += f"{assigned[1]}={assigned[2]} " if assigned else ""
        if not assigned:
            yield assignments + line.replace("\\", "/").replace(".venv/Scripts/", ".venv/bin/")
