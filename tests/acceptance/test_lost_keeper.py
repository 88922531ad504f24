"""`orders run` whose keeper ends or is stopped: other machines' changes are not heard, and nothing stale is served."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx2
import psutil
import psycopg
import pytest

from orders.embedded.kafka import KafkaService
from orders.embedded.postgres import PostgresService
from orders.metrics.table import ProcessKind
from orders.sample import samples
from orders.system.children import STOPPED_SECONDS
from support.background import Background
from support.metrics import series_of
from support.services import Topics, fresh_database, open_folder
from support.system import System, running
from support.waiting import wait_for

ORDER = next(iter(samples(1, 3)))
UID = json.loads(ORDER)["order_uid"]
REPLACE = """
with changed as (
    update orders set locale = %s, version = nextval('order_versions') where order_uid = %s returning order_uid, version
)
select pg_notify('orders_changed', json_build_object('memory', 'another', 'changes', json_build_array(
    json_build_array(order_uid, version)))::text) from changed
"""


class Scene:
    """A system with one order in memory, and another machine that replaces it."""

    def __init__(self, system: System, dsn: str) -> None:
        self.system = system
        self._dsn = dsn
        assert system.request("POST", "/orders", ORDER)[0] == 201
        wait_for(self.is_in_memory, "the order in memory")

    def is_in_memory(self) -> bool:
        before = self.hits()
        self.locale()
        return self.hits() > before

    def hits(self) -> float:
        return series_of(httpx2.get(f"{self.system.url}/metrics").text)['orders_memory_lookups_total{result="hit"}']

    def replace(self, locale: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            assert connection.execute(REPLACE, (locale, UID)).rowcount == 1

    def locale(self) -> str:
        status, body = self.system.request("GET", f"/orders/{UID}")
        assert status == 200
        return str(body["order"]["locale"])

    def await_locale(self, locale: str) -> None:
        wait_for(lambda: self.locale() == locale, "what PostgreSQL holds", STOPPED_SECONDS - 1)

    def pid(self, kind: ProcessKind = "keep") -> int:
        """The process of a kind, as the supervisor has written it down last."""
        processes = json.loads((self.system.data / "state.json").read_bytes())["processes"]
        return next((int(each["pid"]) for each in processes if each["kind"] == kind), 0)

    def kill_keepers(self) -> None:
        """Whatever is started as keeper ends before it can listen."""
        for child in psutil.Process(self.system.process.pid).children():
            with suppress(psutil.Error):
                if "keep" in child.cmdline():
                    child.kill()

    def serves_only(self, *locales: str) -> None:
        """Each of them as soon as it is stored, from whatever has it, again and again."""
        for locale in locales:
            self.replace(locale)
            self.await_locale(locale)


@contextmanager
def system_of(dsn: str, kafka: KafkaService) -> Iterator[Scene]:
    topics = Topics(kafka.bootstrap)
    topic = topics.make()
    options = ["--postgres-dsn", dsn, "--kafka-bootstrap", kafka.bootstrap, "--kafka-topic", topic]
    with open_folder() as folder, running(folder / "data", [*options, "--kafka-group", topic]) as system:
        yield Scene(system, dsn)
    topics.delete()


@pytest.fixture(scope="module")
def scene(postgres: PostgresService, kafka: KafkaService) -> Iterator[Scene]:
    """For the tests that leave memory restored."""
    with fresh_database(postgres) as dsn, system_of(dsn, kafka) as made:
        yield made


def test_while_a_signal_has_stopped_the_keeper_nothing_stale_is_served(scene: Scene) -> None:
    """From the moment that it is noticed, long before it is killed; what was read since is not kept either."""
    keeper = scene.pid()
    os.kill(keeper, signal.SIGSTOP)
    scene.replace("s1")
    scene.await_locale("s1")
    scene.replace("s2")
    assert scene.locale() == "s2"
    assert psutil.Process(keeper).status() == psutil.STATUS_STOPPED, "it was not killed yet"
    wait_for(scene.is_in_memory, "memory restored by the next keeper", 20)
    assert scene.locale() == "s2"


def test_a_keeper_that_continues_in_time_fills_memory_again(scene: Scene) -> None:
    keeper = scene.pid()
    os.kill(keeper, signal.SIGSTOP)
    scene.serves_only("g1")
    os.kill(keeper, signal.SIGCONT)
    wait_for(scene.is_in_memory, "memory restored by the same keeper", 20)
    assert (scene.pid(), scene.locale()) == (keeper, "g1")
    scene.serves_only("g2")


def test_while_no_keeper_can_be_started_nothing_stale_is_served(scene: Scene) -> None:
    """Each that is started ends at once: GETs are answered from PostgreSQL, and what they read is not kept."""
    with Background(scene.kill_keepers, every=0.02):
        before = scene.system.said.count("process_ended")
        wait_for(lambda: scene.system.said.count("process_ended") >= before + 2, "a keeper that ended again", 20)
        scene.serves_only("k1", "k2", "k3")
        assert not scene.is_in_memory()
    wait_for(scene.is_in_memory, "memory restored by the next keeper", 20)
    assert scene.locale() == "k3"


def test_a_keeper_that_is_killed_leaves_nothing_stale(scene: Scene) -> None:
    os.kill(scene.pid(), signal.SIGKILL)
    scene.serves_only("a1", "a2")
    wait_for(scene.is_in_memory, "memory restored by the next keeper", 20)


def test_in_an_outage_of_postgresql_memory_is_kept_until_it_answers(
    own_postgres: PostgresService, kafka: KafkaService
) -> None:
    """Keepers end meanwhile; when PostgreSQL is back and still none can be started, nothing stale is served.

    May take over 10 s: a PostgreSQL of its own is stopped and started.
    """
    with system_of(own_postgres.dsn, kafka) as scene:
        served = scene.locale()
        own_postgres.stop()
        with Background(scene.kill_keepers, every=0.02):
            wait_for(lambda: scene.system.said.count("process_ended") >= 3, "a keeper that ended again and again", 20)
            assert scene.locale() == served, "memory serves on"
            assert "memory_emptied" not in scene.system.said
            own_postgres.start()
            wait_for(lambda: "memory_emptied" in scene.system.said, "memory emptied once PostgreSQL answers", 20)
            scene.serves_only("o1", "o2")
        wait_for(scene.is_in_memory, "memory restored", 30)
