"""The files of compose's profile `zookeeper`, on the programs that its images hold."""

import pytest
from confluent_kafka.admin import AdminClient

from orders.embedded import ports
from support.services import open_folder
from support.system import ROOT
from support.zookeeper import OldKafka

pytestmark = pytest.mark.others

FILES = ROOT / "deploy" / "kafka"


def read(name: str) -> dict[str, str]:
    lines = [line for line in (FILES / name).read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_kafka_and_zookeeper_start_from_the_files_of_compose_and_both_listeners_lead_to_the_broker() -> None:
    (inside,) = ports.free(1)
    given = read("with-zookeeper.properties")
    assert given.pop("zookeeper.connect") == f"zookeeper:{read('zookeeper.properties')['clientPort']}"
    places = {
        "listeners": f"INTERNAL://127.0.0.1:{inside},HOST://BOOTSTRAP",
        "advertised.listeners": f"INTERNAL://127.0.0.1:{inside},HOST://BOOTSTRAP",
        "log.dirs": "data",
    }
    assert places.keys() < given.keys()
    with open_folder() as folder:
        own = read("zookeeper.properties") | {"dataDir": "./data"}
        service = OldKafka(folder, given | places, own)
        try:
            service.start()
            for address in (f"127.0.0.1:{inside}", service.bootstrap):
                admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
                brokers = admin.list_topics(timeout=20).brokers
                assert [f"{each.host}:{each.port}" for each in brokers.values()] == [address]
        finally:
            service.stop()
