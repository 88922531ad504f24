"""Programs that tests marked `system` run."""

import os
import shutil
import sys
from pathlib import Path

import pytest


def program(name: str, package: str) -> str:
    """The path of a program, from the environment or the machine; a test without it ends here, in CI as a failure."""
    folders = [str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]
    if found := shutil.which(name, path=os.pathsep.join(folders)):
        return found
    missing = f"{name} is not installed: {package}"
    if os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
