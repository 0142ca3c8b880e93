"""What runs on GitHub: workflows that can only read, end by themselves, and run commands that are there."""

import re
import subprocess

import pytest
import yaml

from tests import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def steps_of(path):
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


@each_workflow
def test_it_can_only_read_and_ends(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 240


@each_workflow
def test_its_actions_are_commits_and_need_no_secret(path):
    text = path.read_text(encoding="utf-8")
    assert "secrets." not in text
    used = re.findall(r"uses: *(.*)", text)
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", line)] == []


def test_the_commands_of_make_are_there():
    found = [
        command
        for path in WORKFLOWS
        for step in steps_of(path)
        for command in re.findall(r"make .*", step.get("run", ""))
    ]
    targets = [command.split()[1] for command in found if command.startswith("make test")]
    assert sorted(targets) == ["test", "test-exports"]
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_contributors_need_the_pythons_that_are_tested():
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    oldest, newest = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert f"Python {oldest} to {newest}" in (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_ncnn_is_built_in_the_version_of_the_documentation():
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "exports.yml").read_text(encoding="utf-8"))
    page = (REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert f"tried with version {workflow['env']['NCNN']}" in page


def test_what_dependabot_raises_is_pinned():
    """It raises each line with a version; those that are held below one on purpose are named as ignored."""
    update = yaml.safe_load((REPOSITORY / ".github" / "dependabot.yml").read_text(encoding="utf-8"))["updates"][1]
    ignored = {entry["dependency-name"] for entry in update["ignore"]}
    held = set()
    for folder in update["directories"]:
        files = [*(REPOSITORY / folder.strip("/")).glob("*.txt")]
        assert files
        for line in "\n".join(path.read_text(encoding="utf-8") for path in files).splitlines():
            name, bound = re.match(r"([\w.-]*)\s*([<>=]=?)?", line).groups()
            held |= {name} if bound and bound != "==" else set()
    assert held
    assert held <= ignored
