"""A Kafka that is also reached through a network of the suite's own: its brokers name that as their address there."""

from pathlib import Path

from orders.embedded import java, ports
from orders.embedded.kafka import PROPERTIES, KafkaService
from support.proxy import Network


class ProxiedKafka(KafkaService):
    """The embedded Kafka with two listeners: `bootstrap`, and `through` the network, for anyone who is to suffer."""

    def __init__(self, directory: Path, network: Network) -> None:
        super().__init__(directory)
        self._network = network

    @property
    def through(self) -> str:
        """host:port of the network."""
        return f"{ports.LOOPBACK}:{self._network.port}"

    def _configure(self) -> None:
        self._port, controller, proxied = ports.remembered(self._directory / "ports", 3)
        self._network.target = (ports.LOOPBACK, proxied)
        listeners = {"CLIENT": self._port, "PROXIED": proxied, "CONTROLLER": controller}
        own = {
            "listeners": ",".join(f"{name}://{ports.LOOPBACK}:{port}" for name, port in listeners.items()),
            "advertised.listeners": f"CLIENT://{self.bootstrap},PROXIED://{self.through}",
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
            "controller.quorum.voters": f"1@{ports.LOOPBACK}:{controller}",
            "log.dirs": "data",
        }
        java.write_properties(self._properties, PROPERTIES | own)
