"""A Kafka of ZooKeeper's time with its ZooKeeper, as the original system's stack had them, for tests alone."""

import signal
from collections.abc import Mapping
from pathlib import Path

from orders.embedded import Progress, jars, java, ports
from orders.embedded.kafka import KIND as KAFKA
from orders.embedded.kafka import READY_SECONDS, answers
from orders.embedded.process import Launch, ServiceKind
from orders.embedded.service import EmbeddedService

LIST = Path(__file__).with_name("zookeeper-jars.txt")
"""Written by tools/pin_jars.py."""
ZOOKEEPER = ServiceKind("ZooKeeper", stop=signal.SIGTERM, grace=3)
ZOOKEEPER_PROPERTIES = {
    "clientPortAddress": ports.LOOPBACK,
    "dataDir": "./data",
    "tickTime": "500",
    "maxClientCnxns": "0",
    "admin.enableServer": "false",
}
PROPERTIES = {
    "broker.id": "1",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.dedupe.buffer.size": str(8 * 2**20),
    "log.dirs": "data",
    # A killed broker may come back when ZooKeeper has ended its old session.
    "zookeeper.session.timeout.ms": "2000",
    "zookeeper.connection.timeout.ms": "20000",  # by default as short as the session
}


class ZooKeeperService(EmbeddedService):
    """ZooKeeper on a free loopback port; data under `directory`. `options` are properties beside its own."""

    def __init__(self, directory: Path, options: Mapping[str, str]) -> None:
        super().__init__(ZOOKEEPER, directory)
        self._options = options
        self._port = 0

    @property
    def address(self) -> str:
        """host:port; known after `start`."""
        return f"{ports.LOOPBACK}:{self._port}"

    def _start(self, report: Progress) -> None:
        command = java.command(jars.parse(LIST.read_text("utf-8")), self._directory, report)
        report.step("starting ZooKeeper")
        self._process.start(lambda: self._launch(command), lambda: ports.is_open(self._port), READY_SECONDS)

    def _launch(self, command: list[str | Path]) -> Launch:
        (self._port,) = ports.remembered(self._directory / "ports", 1)
        file = self._directory / "zoo.cfg"
        java.write_properties(file, {**ZOOKEEPER_PROPERTIES, **self._options, "clientPort": str(self._port)})
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        return Launch([*command, main, file], -1, java.ENVIRONMENT)


class OldKafka(EmbeddedService):
    """Kafka 3.9 on a free loopback port, and its ZooKeeper; data under `directory`. It makes no topics by itself.

    `options` are properties beside its own, in which BOOTSTRAP stands for the broker's address.
    """

    def __init__(
        self, directory: Path, options: Mapping[str, str] | None = None, of_zookeeper: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(KAFKA, directory / "broker")
        self._options = dict(options or {})
        self.zookeeper = ZooKeeperService(directory / "zookeeper", of_zookeeper or {})
        self._port = 0

    @property
    def bootstrap(self) -> str:
        """host:port of the broker; known after `start`."""
        return f"{ports.LOOPBACK}:{self._port}"

    def _start(self, report: Progress) -> None:
        self.zookeeper.start(report)
        command = java.command(jars.parse(LIST.read_text("utf-8")), self._directory, report)
        report.step("starting Kafka")
        self._process.start(lambda: self._launch(command), self._answers, READY_SECONDS)

    def stop(self) -> None:
        """Ends the broker, then its ZooKeeper."""
        super().stop()
        self.zookeeper.stop()

    def _launch(self, command: list[str | Path]) -> Launch:
        (self._port,) = ports.remembered(self._directory / "ports", 1)
        file = self._directory / "server.properties"
        own = {"listeners": f"PLAINTEXT://{self.bootstrap}", "zookeeper.connect": self.zookeeper.address}
        options = {name: text.replace("BOOTSTRAP", self.bootstrap) for name, text in self._options.items()}
        java.write_properties(file, PROPERTIES | own | options)
        return Launch([*command, "kafka.Kafka", file], -1, java.ENVIRONMENT)

    def _answers(self) -> bool:
        return answers(self._port, {"bootstrap.servers": self.bootstrap})
