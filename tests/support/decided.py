"""How often records were decided: once each, however members came, went, slept and woke.

What PostgreSQL holds cannot show a second time, for a record at or before its row's own place changes nothing.
"""

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from orders.kafka.topic import TopicView
from support.machine import Machine
from support.waiting import wait_for


def decided(machine: Machine) -> int:
    """How many records the batches had that were committed and counted, no matter who committed them."""
    families = text_string_to_metric_families(httpx2.get(f"{machine.url}/metrics", timeout=10).text)
    samples = [sample for family in families for sample in family.samples]
    return int(sum(sample.value for sample in samples if sample.name == "orders_records_total"))


def records(machine: Machine) -> int:
    """How many records the topic has, of which none was removed and none is a transaction's control record."""
    return sum(TopicView(machine.settings.kafka, machine.settings.kafka_topic).look().ends.values())


def all_decided_once(machine: Machine) -> None:
    """For a machine that has consumed all, of which no process was killed and no reply to COMMIT lost."""
    wait_for(lambda: decided(machine) == records(machine), "each record was decided once", 10)
