"""A YOLOv5 checkout whose commands run in forks that have torch imported already."""

import subprocess
import sys

from demo.host import Host
from tests.warm_python import run_python


class WarmHost(Host):
    """A `Host` that also runs programs of the tests inside the checkout."""

    def python(self, *arguments, **options):
        """Run `python ARGUMENTS` in the checkout, and return what `subprocess.run` would."""
        return run_python(arguments, self.import_path, self.environment, **options)

    def run(self, module, arguments):
        done = self.python("-m", self.prefix + module, *arguments, stderr=subprocess.STDOUT)
        sys.stdout.write(done.stdout)
        if done.returncode:
            raise SystemExit(f"{' '.join(done.args)} failed with exit code {done.returncode}")
        return done.stdout
