"""Links and anchors in the documentation lead somewhere."""

import re

import pytest

from tests import REPOSITORY

PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / ".github").rglob("*.md")]
)
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:href|src|srcset)=\"([^\"\s]+)\"")


def text_of(page):
    return CODE.sub("", page.read_text(encoding="utf-8"))


def links_of(page):
    return [markdown or html for markdown, html in LINK.findall(text_of(page))]


def anchors_of(page):
    """Return the anchors of a page, as GitHub makes them from its headings."""
    anchors, count = [], {}
    fences = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6} +(.+?)(?: +#+)?$", fences, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        count[anchor] = count.get(anchor, -1) + 1
        anchors.append(f"{anchor}-{count[anchor]}" if count[anchor] else anchor)
    return anchors + re.findall(r"<a (?:id|name)=\"([^\"]+)\"", fences)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page):
    broken = []
    for link in links_of(page):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


def test_there_are_links_to_look_at():
    """The expressions above find what they are for."""
    assert len(links_of(REPOSITORY / "README.md")) >= 8
    assert "the-index-rule" in anchors_of(REPOSITORY / "docs" / "yaml.md")
    assert any("#" in link for page in PAGES for link in links_of(page))


def test_every_page_is_linked_from_the_readme_or_a_page_that_is():
    """GitHub shows CONTRIBUTING.md, the files below .github, and a folder's README.md by itself."""
    start = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "docs" / "README.md"]
    reached, queue = set(), start
    while queue:
        page = queue.pop()
        reached.add(page)
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links_of(page) if "://" not in link}
        queue += [target for target in targets if target.suffix == ".md" and target not in reached and target.is_file()]
    shown = {page.name for page in (REPOSITORY / ".github").rglob("*.md")} | {"CHANGELOG.md", "README.zh-CN.md"}
    assert sorted(page.name for page in set(PAGES) - reached if page.name not in shown) == []


def test_the_index_names_every_page_by_its_title():
    folder = REPOSITORY / "docs"
    named = dict(re.findall(r"\[([^]]+)\]\((\w[\w-]*\.md)\)", (folder / "README.md").read_text(encoding="utf-8")))
    titles = {page.read_text(encoding="utf-8").splitlines()[0][2:]: page.name for page in folder.glob("*.md")}
    assert named == {title: name for title, name in titles.items() if name != "README.md"}
