"""The map of tests/support has each of its modules."""

import re
from pathlib import Path

import support

FOLDER = Path(str(support.__file__)).parent


def test_each_module_is_on_the_map() -> None:
    modules = {path.stem for path in FOLDER.iterdir() if path.suffix == ".py" or path.is_dir()}
    on_the_map = set(re.findall(r"\w+", str(support.__doc__)))
    assert modules - {"__init__", "__pycache__"} <= on_the_map
