"""The project's own files: one version, issue templates and hooks that hold together."""

import re
from pathlib import Path

import pytest
import yaml

from patches import __version__
from tests import REPOSITORY, mutants

TEMPLATES = sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("[0-9]*.yml"))
CONTRIBUTING, README = ((REPOSITORY / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "README.md"))
CITATION = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))


def released():
    """Return the version and the date of the newest release in the changelog."""
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.search(r"^## (\d\S*) - (\S+)$", changelog, re.MULTILINE).groups()


def test_the_version_stands_once():
    folders = ("patches", "models", "demo", "benchmarks", "docs")
    files = [*REPOSITORY.glob("*.py"), *REPOSITORY.glob("*.toml")]
    files += [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    assert [path.name for path in files if f'"{__version__}"' in path.read_text(encoding="utf-8")] == ["__init__.py"]


def test_the_changelog_begins_with_it():
    """What is not released yet may stand above, under a heading without a number."""
    assert released()[0] == __version__


def test_the_citation_is_of_this_release():
    assert (CITATION["version"], CITATION["date-released"]) == released()


def test_the_citation_names_the_paper_of_the_readme():
    paper = CITATION["preferred-citation"]
    authors = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])
    expected = {"title": paper["title"], "author": authors, "booktitle": paper["conference"]["name"]}
    bibtex = re.findall(r"^  (\w+) += \{(.+)\}", README, re.MULTILINE)
    assert dict(bibtex) == {**expected, "year": str(paper["year"])}
    assert paper["url"] in README


def test_there_are_three_kinds_of_issue():
    assert len(TEMPLATES) == 3


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_an_issue_template_is_one(path):
    template = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(template)
    fields = [field for field in template["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in fields} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
    names = [field["id"] for field in fields]
    assert len(set(names)) == len(names)


def test_the_hooks_are_the_checks_of_make_lint():
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook["entry"].replace(".venv/bin/", "") for repository in config["repos"] for hook in repository["hooks"]]
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    assert hooks == [re.sub(r"^\s*\$\(BIN\)/| \.(github/workflows/\*\.yml)?$", "", line) for line in lint.splitlines()]


def test_the_map_names_every_module():
    """One by one, or as part of a pattern such as timm_*.py."""
    named = {Path(name).name for name in re.findall(r"[\w/*]+\.py\b", CONTRIBUTING)}
    for folder in ("patches", "models/backbone"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            known = any(path.match(pattern) for pattern in named)
            assert known or path.name == "__init__.py", (
                f"CONTRIBUTING.md does not say what {path.relative_to(REPOSITORY)} is"
            )


@pytest.mark.parametrize("module", mutants.TESTS)
def test_the_tests_of_each_module_that_is_mutated_are_there(module):
    assert (REPOSITORY / module).is_file()
    for name, _, test in [name.partition("::") for name in mutants.TESTS[module]]:
        assert f"def {test or 'test_'}" in mutants.find_test_file(name).read_text(encoding="utf-8")
