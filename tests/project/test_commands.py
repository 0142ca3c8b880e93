"""Every command in the documentation is run from its text, or named below with the reason why not; links lead somewhere.

A new command fails here until a line of `HANDLERS` takes it.
"""

import functools
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys

import pytest

import apply_patch
from tests import REPOSITORY, TESTS
from tests.conftest import RELEASES, host
from tests.documented import FENCE, PAGES, commands_of
from tests.warm_python import run_python

COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands_of(page)))


class Place:
    """A copy of YOLOv5 without the patch, data to train on, and commands run as they stand, with real paths in them."""

    def __init__(self, checkout, folder):
        self.checkout, self.folder = checkout, folder

    @functools.cached_property
    def host(self):
        """The copy, which is made when a command first needs it."""
        root = self.folder / self.checkout.name
        shutil.copytree(self.checkout, root, ignore=shutil.ignore_patterns(".git", "runs", "__pycache__"))
        return host(root)

    @property
    def root(self):
        return self.host.root

    def patch(self):
        assert apply_patch.main([str(self.root)]) == 0

    def run(self, command, *more, cwd=REPOSITORY):
        """Run a command of the documentation and return its output."""
        command = command.replace("path/to/yolov5", str(self.root))
        words = shlex.split(re.sub(r"\bFOLDER\b|\bpath/to/folder\b", str(self.folder), command))
        if words[0] in ("python", ".venv/bin/python"):
            words[0] = sys.executable
        words = [sys.executable, "-m", *words] if words[0] == "pytest" else words
        environment = {**self.host.environment, "PYTHONPATH": ""} if cwd == REPOSITORY else self.host.environment
        if words[0] == sys.executable:
            done = run_python([*words[1:], *more], cwd, environment)
        else:
            done = subprocess.run([*words, *more], cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def data(self):
        from demo.dataset import write_dataset  # needs Pillow

        return write_dataset(self.folder / "data", 64, {"train": 8, "val": 4, "unseen": 1})

    def run_host(self, command, *more):
        """Run a script of YOLOv5, on small data, in a clone or in the pip package."""
        script, *words = shlex.split(re.sub(r"^(\w+=\S+ )*python ", "", command))
        words = [str(self.data()) if word == "coco128.yaml" else word for word in words]
        common = ["--img-size", 64, "--device", "cpu", "--project", self.folder / "runs", "--exist-ok"]
        return self.host.run(script[:-3].replace("/", "."), [*words, *common, *more])

    def trained(self):
        """Return the path of a checkpoint of one short training."""
        command = "python train.py --cfg yolov5-efficientvit.yaml --weights='' --data coco128.yaml"
        self.run_host(command, "--epochs", 1, "--batch-size", 4, "--workers", 0)
        return next((self.folder / "runs").rglob("last.pt"))


@pytest.fixture
def place(request, tmp_path):
    own = request.config.getoption("--yolov5")
    checkout = own.absolute() if own else RELEASES[-1] if RELEASES else None
    if checkout is None:
        reason = "no YOLOv5 here: give one by `pytest --yolov5=path/to/checkout`, or run `make test`"
        (pytest.fail if request.config.getoption("--require-hosts") else pytest.skip)(reason)
    return Place(checkout, tmp_path)


def on_an_unpatched_checkout(place, command):
    """The README shows the first two lines of what applying prints."""
    output = place.run(command)
    if "--diff" not in command:
        assert "".join(output.splitlines(keepends=True)[:2]) in (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert apply_patch.main([str(place.root), "--check"]) == (1 if "--diff" in command else 0)


def on_a_patched_checkout(place, command):
    place.patch()
    place.run(command)
    assert apply_patch.main([str(place.root), "--check"]) == (1 if "--revert" in command else 0)


def on_a_clone(place, command):
    """In a repository whose models/yolo.py somebody has edited."""
    original = (place.root / "models" / "yolo.py").read_bytes()
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "as released"]):
        subprocess.run(["git", *identity, *arguments], cwd=place.root, check=True)
    (place.root / "models" / "yolo.py").write_bytes(original + b"is_backbone = False\n")
    place.run(command)
    assert (place.root / "models" / "yolo.py").read_bytes() == original


def pulls(place, command):
    """In a clone of a repository that has a new commit."""
    upstream, clone = place.folder / "upstream", place.folder / "clone"
    shutil.copytree(place.checkout, upstream, ignore=shutil.ignore_patterns(".git", "runs", "__pycache__"))
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "as released"], ["clone", "-q", ".", clone]):
        subprocess.run(["git", *identity, *arguments], cwd=upstream, check=True)
    (upstream / "new.txt").write_text("new")
    for arguments in (["add", "-A"], ["commit", "-qm", "newer"]):
        subprocess.run(["git", *identity, *arguments], cwd=upstream, check=True)
    place.run(command.replace("path/to/yolov5", str(clone)))
    assert (clone / "new.txt").is_file()


def lists_versions(place, command):
    """The commands that follow it on its page too, in a shell, on a repository of two commits."""
    body = next(
        body for _, body in FENCE.findall((REPOSITORY / "docs/compatibility.md").read_text("utf-8")) if command in body
    )
    yolo = place.root / "models" / "yolo.py"
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q"], cwd=place.root, check=True)
    for number in range(2):
        yolo.write_bytes(yolo.read_bytes() + b"\n" * number)
        for arguments in (["add", "models/yolo.py"], ["commit", "-qm", str(number)]):
            subprocess.run(["git", *identity, *arguments], cwd=place.root, check=True)
    script = body.replace("path/to/yolov5", str(place.root)).replace("python -m", f"{sys.executable} -m")
    environment = {**place.host.environment, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(["bash", "-ec", script], cwd=place.folder, env=environment, capture_output=True, text=True)
    assert "2 of 2" in done.stdout, done.stdout + done.stderr


def trains(place, command):
    place.patch()
    place.run_host(command, "--epochs", 1, "--batch-size", 4, "--workers", 0)
    assert list((place.folder / "runs").rglob("last.pt"))


def with_weights(place, command):
    """With a checkpoint in the place of the one that the command names."""
    place.patch()
    command = re.sub(r"\S*\b(new|best)\.pt", str(place.trained()), command)
    place.run_host(command.replace("path/to/photos", str(place.data().parent / "images" / "val")))


def lists_backbones(place, command):
    place.patch()
    output = place.run(command.replace("-m models", f"-m {place.host.prefix}models"), cwd=place.host.import_path)
    assert "convnext_tiny" in output


def shows_help(place, command):
    """What it does is in the tests of its module."""
    place.patch()
    module = re.search(r"-m (?:yolov5\.)?(train|val|models.backbone (?:list|look|move-over))", command)[1]
    assert "usage: " in place.run(f"python -m {place.host.prefix}{module} --help", cwd=place.host.import_path)


def looks(place, command):
    """With a detector that has not been trained, and a picture of the demonstration."""
    place.patch()
    yaml = place.root / "models" / "yolov5-efficientvit.yaml"
    done = place.host.python(TESTS / "save_detector.py", place.host.prefix, yaml, place.folder / "best.pt")
    assert done.returncode == 0, done.stdout + done.stderr
    photo = next((place.data().parent / "images").rglob("*.png")).rename(place.folder / "photo.jpg")
    command = command.replace("best.pt", str(place.folder / "best.pt")).replace("photo.jpg", str(photo))
    command = command.replace("-m models", f"-m {place.host.prefix}models")
    assert "photo-look.png: the maps of EfficientViT_M0, " in place.run(command, cwd=place.host.import_path)
    assert (place.host.import_path / "photo-look.png").is_file()


def exports(place, command):
    """Without ONNX, which wants packages that `make test-exports` sets up."""
    place.patch()
    weights = place.trained()
    words = shlex.split(command.replace(" onnx", ""))[2:]
    words = [str(weights) if word.endswith("best.pt") else word for word in words]
    place.host.run("export", [*words, "--img-size", 64, "--device", "cpu"])
    assert weights.with_suffix(".torchscript").is_file()


def surveys(place, command):
    assert "1 of 1" in place.run(command)


def collects(place, command):
    """The options are understood; that all tests are collected is seen by whoever runs this one."""
    command = re.sub(r"^\w+=\S+ ", "", command.replace("build/hosts/7.0.14/yolov5", str(place.root)))
    one = [] if "tests/" in command else ["tests/project/test_links.py"]
    output = place.run(command, *one, "--collect-only", "-q")
    assert "tests collected" in output


def has_a_target(place, command):
    target, *variables = command.split()[1:]
    done = subprocess.run(["make", "-n", target, *variables], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def names_a_module(place, command):
    (name,) = re.findall(r"-m (\S+)", command)
    assert importlib.util.find_spec(name)


def names_a_folder(place, command):
    assert command == "cd path/to/yolov5"


def is_not_run(place, command):
    """The reason stands where the handler is named."""


# The first line that matches a command takes it. A text in the place of the handler names the test that runs the like.
HANDLERS = [
    (r"cd path/to/yolov5", names_a_folder),
    (r"(\.venv/bin/)?python apply_patch.py path/to/yolov5( --diff)?", on_an_unpatched_checkout),
    (r"python apply_patch.py path/to/yolov5 --(check|revert|verify)( --json)?", on_a_patched_checkout),
    (r"git -C path/to/yolov5 checkout models/yolo.py", on_a_clone),
    (r"git -C path/to/yolov5 pull", pulls),
    (r"git -C path/to/yolov5 log --format=%H -- models/yolo.py > versions.txt", lists_versions),
    (r"python -m patches.trial.survey versions", "project/test_commands.py::lists_versions"),
    (r"git clone https://.*", is_not_run),  # it needs a network
    (r"(\.venv/bin/)?python -m venv .venv", is_not_run),  # an environment of its own, of 5 GB once it is filled
    (r"(\.venv/bin/)?python -m demo path/to/yolov5", "project/test_demo.py::test_the_demonstration_runs"),
    (r"python train.py --cfg .*", trains),
    (r"python val.py --weights .*", with_weights),
    (r"python detect.py --weights best.pt yolov5s.pt .*", "hosts/test_elsewhere.py::test_an_ensemble_in_detect"),
    (
        r"PYTHONPATH=.. python detect.py .*",
        "hosts/test_elsewhere.py::test_a_checkpoint_of_the_pip_package_in_a_clone",
    ),
    (r"(TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 )?python detect.py --weights .*", with_weights),
    (r"python segment/train.py .*", "hosts/test_training.py::test_segmentation"),
    (r"python classify/train.py .*", "hosts/test_training.py::test_classification_from_a_detector"),
    (
        r"python export.py --weights best.pt --include (onnx|openvino|paddle) .*",
        "runtimes/test_runtimes.py::test_efficientvit",
    ),
    (r"python path/to/this/examples/export_executorch.py .*", "runtimes/test_runtimes.py::test_efficientvit"),
    (r"python path/to/this/examples/quantize.py .*", "runtimes/test_int8.py::test_boxes_and_scores_survive"),
    (
        r"python export.py --weights best.pt --include saved_model .*",
        "runtimes/test_int8.py::test_boxes_and_scores_survive",
    ),
    (
        r"python path/to/this/examples/export_rknn.py .*",
        "runtimes/test_runtimes.py::test_export_rknn_says_how_far_its_simulator_is_from_onnx_runtime",
    ),
    (r"python export.py .*", exports),
    (r"python -m models.backbone look best.pt photo.jpg", looks),
    (r"python -m models.backbone list 'convnext\*'", lists_backbones),
    (r"python -m (yolov5\.)?(train|val|models.backbone (list|look|move-over).*)", shows_help),
    (r"(\.venv/bin/)?python -m patches.trial.survey (FOLDER|path/to/folder)( --run)?", surveys),
    (
        r"pytest --yolov5=.*|(STATE_MACHINE_EXAMPLES=\d+ )?\.venv/bin/python -m pytest.*",
        collects,
    ),  # they would run this test again
    (r"make .*", has_a_target),  # the targets take minutes, and are what continuous integration runs
    (r"(\.venv/bin/)?python -m benchmarks\..*", names_a_module),  # they take long, and write benchmarks/results
    (r"python examples/voc_to_yolo.py .*", "project/test_voc_to_yolo.py::test_lists_of_pascal_voc"),
    (r"git clone --depth 1 https://github.com/(EdjeElectronics|Shenggan)/.*", is_not_run),  # needs a network
    (r"(\.venv/bin/)?python -m tests\.mutants .*", names_a_module),  # it takes minutes
    (r"(\.venv/bin/)?python -m docs.pictures", "project/test_pictures.py::test_the_picture_is_up_to_date"),
    (r"(\.venv/bin/)?(python -m )?pip install .*", is_not_run),  # installs into the environment of whoever tests
]


def handler_of(command):
    return next((handler for pattern, handler in HANDLERS if re.fullmatch(pattern, command)), None)


def cases():
    """Each command that is run; those that take more than a minute with the mark `training`."""
    for command in COMMANDS:
        handler = handler_of(command)
        if callable(handler):
            slow = handler in (trains, with_weights, exports, lists_backbones)
            yield pytest.param(command, marks=[pytest.mark.training] if slow else [], id=command)


def test_every_command_has_a_handler():
    assert [command for command in COMMANDS if handler_of(command) is None] == []


def test_every_handler_has_a_command():
    patterns = [pattern for pattern, _ in HANDLERS]
    assert [pattern for pattern in patterns if not any(re.fullmatch(pattern, command) for command in COMMANDS)] == []


@pytest.mark.parametrize("test", [handler for _, handler in HANDLERS if isinstance(handler, str)])
def test_the_tests_that_run_the_like_exist(test):
    name, function = test.split("::")
    assert f"\ndef {function}(" in (REPOSITORY / "tests" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", list(cases()))
def test_a_command(command, place):
    handler_of(command)(place, command)
