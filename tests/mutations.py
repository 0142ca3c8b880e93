"""Ways to mutate a Python file, as people and tools do; each takes the text and a source of choices."""

import re

NAME = re.compile(r"\b[a-z_][a-z_0-9]*\b")
COMMENTS = ["# todo", "# 目标检测 🚀", "# >>> yolov5-efficientvit", "# <<< yolov5-efficientvit", "# is_backbone", "\\"]
WRAPPERS = ["if True:", "try:", "with context:", "for _ in range(2):", "else:", "class Inner:", "def inner():"]


def lines_of(text):
    return text.splitlines(keepends=True)


def pick(choose, lines):
    """Choose a line, more often one that the patch looks at."""
    busy = [
        number for number, line in enumerate(lines) if re.search(r"for |append|extend|import|\(value\)|\(x\)", line)
    ]
    return choose(busy) if busy and choose([True, False]) else choose(range(len(lines)))


def move(lines, choose):
    line = lines.pop(pick(choose, lines))
    lines.insert(choose(range(len(lines) + 1)), line)


def swap(lines, choose):
    first = pick(choose, lines[:-1] or lines)
    lines[first : first + 2] = reversed(lines[first : first + 2])


def duplicate(lines, choose):
    number = pick(choose, lines)
    lines.insert(number, lines[number])


def remove(lines, choose):
    del lines[pick(choose, lines)]


def wrap(lines, choose):
    """Put a line into a block of its own."""
    number = pick(choose, lines)
    line, wrapper = lines[number], choose(WRAPPERS)
    indent = line[: len(line) - len(line.lstrip())]
    after = f"{indent}finally:\n{indent}    pass\n" if wrapper == "try:" else ""
    lines[number] = f"{indent}{wrapper}\n    {line}{after}"


def join(lines, choose):
    """Put two statements on one line."""
    number = pick(choose, lines[:-1] or lines)
    if number + 1 < len(lines):
        lines[number : number + 2] = [lines[number].rstrip() + "; " + lines[number + 1].lstrip()]


def rename(lines, choose):
    """Rename every use of a name, to a new one or to one that is there."""
    names = sorted(set(NAME.findall("".join(lines))))
    old, new = choose(names), choose([*names, "renamed", "is_timm", "größe"])
    lines[:] = lines_of(re.sub(rf"\b{old}\b", new, "".join(lines)))


def comment(lines, choose):
    """Add a comment behind a line, or on one of its own."""
    number = pick(choose, lines)
    if choose([True, False]):
        lines.insert(number, choose(["", "    ", "        "]) + choose(COMMENTS) + "\n")
    else:
        lines[number] = lines[number].rstrip("\n") + "  " + choose(COMMENTS) + "\n"


def put_in_a_string(lines, choose):
    """Turn a stretch of code into text."""
    first = choose(range(len(lines)))
    last = min(len(lines), first + choose([1, 2, 5, 20]))
    lines[first:last] = ['"""\n', *lines[first:last], '"""\n']


def odd_space(lines, choose):
    number = pick(choose, lines)
    lines[number] = choose(["\x0c", "\n", "\t", " "]) + lines[number]


MUTATIONS = [move, swap, duplicate, remove, wrap, join, rename, comment, put_in_a_string, odd_space]


def mutate(text, choose, count):
    """Return the text after `count` mutations."""
    lines = lines_of(text)
    for _ in range(count):
        if lines:
            choose(MUTATIONS)(lines, choose)
            lines = lines_of("".join(lines))
    return "".join(lines)


def encode(text, choose):
    """Return the text as bytes, in one of the encodings and with one of the line ends that are found in the wild."""
    text = text.replace("\n", choose(["\n", "\n", "\r\n", "\r"]))
    encoding = choose(["utf-8", "utf-8", "utf-8-sig", "gbk", "latin-1"])
    if encoding in ("gbk", "latin-1"):
        text = f"# -*- coding: {encoding} -*-\n{text}"
    return text.encode(encoding, errors="ignore")
