"""Writes `src/orders/embedded/kafka-jars.txt`: Kafka's jars and their SHA-256 sums, as Maven resolves them now.

Run by hand, for another Kafka: `python tools/pin_jars.py`, with the version changed below.
"""

import hashlib
from pathlib import Path

from jgo.maven import MavenContext

KAFKA = ("org.apache.kafka", "kafka_2.13", "4.3.1")
LOGGING = ("org.apache.logging.log4j", "log4j-slf4j-impl")
"""Kafka logs to SLF4J and does not bring what leads from there to log4j; without it all broker logs vanish."""
LIST = Path(__file__).parents[1] / "src/orders/embedded/kafka-jars.txt"


def main() -> None:
    lines = sorted(line(context, *coordinate) for context in [MavenContext()] for coordinate in coordinates(context))
    LIST.write_text(f"# Kafka {KAFKA[2]} as {Path(__file__).name} found it\n" + "\n".join(lines) + "\n")
    print(f"{len(lines)} jars, {sum(int(line.split()[-1]) for line in lines)} bytes")


def coordinates(context: MavenContext) -> list[tuple[str, str, str]]:
    pom = context.project(*KAFKA[:2]).at_version(KAFKA[2]).pom()
    _, nodes = context.pom_dependency_list(pom)
    found = [(n.dep.groupId, n.dep.artifactId, n.dep.version) for n in nodes if n.dep.scope in {"compile", "runtime"}]
    if any(n.dep.classifier for n in nodes):
        raise SystemExit("a dependency has a classifier: teach this script to keep it")
    log4j = next(version for group, _, version in found if group == LOGGING[0])
    return [KAFKA, (*LOGGING, log4j), *found]


def line(context: MavenContext, group: str, artifact: str, version: str) -> str:
    data = context.project(group, artifact).at_version(version).artifact().resolve().read_bytes()
    return f"{group}:{artifact}:{version} {hashlib.sha256(data).hexdigest()} {len(data)}"


if __name__ == "__main__":
    main()
