"""Real YOLOv5 checkouts for the tests: the releases that `make test` unpacks, or the user's own."""

import re
import shutil
from pathlib import Path

import pytest

import apply_patch
from demo.repair import repair
from patches.source.blocks import BEGIN

MINIHOST = Path(__file__).parent / "minihost"
RELEASES = sorted((Path(__file__).parents[1] / "build" / "hosts").glob("*/yolov5"))


def pytest_addoption(parser):
    parser.addoption("--yolov5", type=Path, metavar="CHECKOUT", help="run the host tests on a copy of this checkout")
    parser.addoption("--device", default="cuda", choices=["cuda", "cpu"], help="what the tests marked cuda run on")
    parser.addoption("--require-hosts", action="store_true", help="fail, rather than skip, when no checkout is there")


def pytest_configure(config):
    """Refuse `--yolov5 path`: pytest takes such a path for one of tests, and the settings from a file that lies there."""
    ours = Path(__file__).parents[1] / "pyproject.toml"
    if config.inipath != ours:
        raise pytest.UsageError(f"the settings come from {config.inipath}, not {ours}: write --yolov5=path, with the =")


def pytest_generate_tests(metafunc):
    if "real_checkout" in metafunc.fixturenames:
        own = metafunc.config.getoption("--yolov5")
        newest = metafunc.definition.get_closest_marker("newest_release")
        found = [own.absolute()] if own else RELEASES[-1:] if newest else RELEASES
        ids = [path.name if own else path.parent.name for path in found]
        metafunc.parametrize("real_checkout", found or [None], ids=ids or ["no YOLOv5"], indirect=True, scope="session")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let `--dist loadfile` keep together the tests on one release, which share its copies, and the others by file."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            releases = {path.parent.name for path in RELEASES} & set(re.split(r"[][-]", nodeid))
            return min(releases) if releases else super()._split_scope(nodeid)

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def real_checkout(request):
    """The checkout that a test runs on; only read from, tests take copies."""
    if request.param is None:
        reason = (
            "no YOLOv5 here: give one by `pytest --yolov5=path/to/checkout`, or run `make test`, which unpacks five"
        )
        (pytest.fail if request.config.getoption("--require-hosts") else pytest.skip)(reason)
    if not (request.param / "models" / "yolo.py").is_file():
        pytest.fail(f"--yolov5 {request.param} holds no models/yolo.py")
    return request.param


def block_names(source):
    """Return the names of the blocks in a patched file, in their order."""
    return [begin[2] for begin in map(BEGIN.match, source.splitlines()) if begin]


@pytest.fixture
def checkout(tmp_path):
    """A copy of the miniature host."""
    shutil.copytree(MINIHOST, tmp_path / "host", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "host"


@pytest.fixture
def run(checkout, capsys):
    """Runs the command line on the miniature host: the exit code, stdout and stderr."""

    def run_main(*arguments, path=checkout):
        code = apply_patch.main([str(path), *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_main


def host(root):
    from tests.warm_host import WarmHost  # needs matplotlib, which YOLOv5 brings and the other tests do without

    return WarmHost(root, root.parent / "config")


@pytest.fixture(scope="session")
def stock(real_checkout, tmp_path_factory):
    """A copy of the checkout, without the patch."""
    copy = tmp_path_factory.mktemp("stock") / real_checkout.name
    shutil.copytree(real_checkout, copy, ignore=shutil.ignore_patterns(".git", "runs", "__pycache__"))
    assert apply_patch.main([str(copy), "--revert"]) == 0  # the user may have patched it already
    return host(copy)


@pytest.fixture(scope="session")
def patched(stock, tmp_path_factory):
    """A patched copy of the checkout, in which old releases are repaired for today's packages."""
    copy = tmp_path_factory.mktemp("patched") / stock.root.name
    shutil.copytree(stock.root, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert apply_patch.main([str(copy)]) == 0
    repair(copy)
    return host(copy)
