"""Writes the lists of jars and their SHA-256 sums, as Maven resolves them now: of the embedded Kafka and of the tests'.

Run by hand, for another Kafka: `python tools/pin_jars.py`, with the versions changed below.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from jgo.maven import MavenContext

Coordinate = tuple[str, str, str]

ROOT = Path(__file__).parents[1]
KAFKA = ("org.apache.kafka", "kafka_2.13")
LOG4J = "org.apache.logging.log4j"
LOGGING = "log4j-slf4j-impl"
"""Kafka logs to SLF4J and does not bring what leads from there to log4j; without it all broker logs vanish."""


class List(NamedTuple):
    """A release of Kafka, the file with its jars, and what it needs and does not bring; versions are log4j's."""

    file: Path
    version: str
    more: tuple[str, ...]
    log4j: str = ""
    """Empty: the one that Kafka brings."""


LISTS = (
    List(ROOT / "src/orders/embedded/kafka-jars.txt", "4.3.1", (LOGGING,)),
    # The last release that runs with ZooKeeper, which it brings; it calls log4j 1, and brings none.
    List(
        ROOT / "tests/support/zookeeper-jars.txt",
        "3.9.2",
        (LOGGING, "log4j-api", "log4j-core", "log4j-1.2-api"),
        log4j="2.25.4",
    ),
)


def main() -> None:
    context = MavenContext()
    for each in LISTS:
        lines = sorted(line(context, *coordinate) for coordinate in coordinates(context, each))
        head = f"# Kafka {each.version} as {Path(__file__).name} found it\n"
        each.file.write_text(head + "\n".join(lines) + "\n")
        print(f"{each.file.name}: {len(lines)} jars, {sum(int(line.split()[-1]) for line in lines)} bytes")


def coordinates(context: MavenContext, wanted: List) -> list[Coordinate]:
    pom = context.project(*KAFKA).at_version(wanted.version).pom()
    _, nodes = context.pom_dependency_list(pom)
    found = [(n.dep.groupId, n.dep.artifactId, n.dep.version) for n in nodes if n.dep.scope in {"compile", "runtime"}]
    if any(n.dep.classifier for n in nodes):
        raise SystemExit("a dependency has a classifier: teach this script to keep it")
    log4j = wanted.log4j or next(version for group, _, version in found if group == LOG4J)
    return [(*KAFKA, wanted.version), *((LOG4J, artifact, log4j) for artifact in wanted.more), *found]


def line(context: MavenContext, group: str, artifact: str, version: str) -> str:
    data = context.project(group, artifact).at_version(version).artifact().resolve().read_bytes()
    return f"{group}:{artifact}:{version} {hashlib.sha256(data).hexdigest()} {len(data)}"


if __name__ == "__main__":
    main()
