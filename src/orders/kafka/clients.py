"""Kafka's clients, made from our properties and the user's. What librdkafka has against them is one sentence.

Properties of the other kind of client are left out: librdkafka would log a warning of each.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from orders.errors import UsageError
from orders.settings import property_variable
from orders.settings.properties import PROBE, allowed_values, for_client, is_path

PLAINTEXT = "plaintext"
LOGGER = logging.getLogger("librdkafka")

_VALUE = re.compile(r'(?:property|value for) "([\w.]+)"')
_ACT = re.compile(r"^Failed to create [a-z ]+: ")
_PARTS = re.compile(r"[\s,;=]+")


def consumer(config: Mapping[str, Any]) -> Consumer:
    """Raises `UsageError`."""
    with _told(config):
        return Consumer(for_client(config, "C"), logger=LOGGER)


def producer(config: Mapping[str, Any]) -> Producer:
    """Raises `UsageError`."""
    with _told(config):
        return Producer(for_client(config, "P"), logger=LOGGER)


def admin(config: Mapping[str, Any]) -> AdminClient:
    """Raises `UsageError`."""
    with _told(config):
        return AdminClient(for_client(config, "P"), logger=LOGGER)


def check(kafka: Mapping[str, str]) -> None:
    """Whether librdkafka takes a user's properties; asks no broker. Raises `UsageError` that says what is wrong."""
    if not kafka["bootstrap.servers"] and kafka.get("security.protocol", PLAINTEXT).lower() != PLAINTEXT:
        name = property_variable("security.protocol")
        raise UsageError(f"{name} is for a Kafka of your own: give ORDERS_KAFKA_BOOTSTRAP too")
    for name, text in kafka.items():
        if is_path(name) and text != PROBE and not os.access(text, os.R_OK):
            raise UsageError(f"{property_variable(name)} ({name}) is not the path of a file that can be read")
    alone = {"log_level": "0"} | {name: text for name, text in kafka.items() if name != "bootstrap.servers"}
    admin(alone)
    consumer(alone | {"group.id": "check"}).close()


@contextmanager
def _told(config: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except (KafkaException, ValueError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        raise UsageError(_sentence(reason, config)) from None


def _sentence(reason: str, config: Mapping[str, Any]) -> str:
    """What librdkafka has against the properties, without the value of any."""
    if found := _VALUE.search(reason):
        extent = allowed_values(found[1]) or "something else"
        return f"{property_variable(found[1])} ({found[1]}) must be {extent}, says Kafka's client"
    reason_masked = _masked(_ACT.sub("", reason), config)
    return f"Kafka's client refuses its properties, which `orders config` shows: {reason_masked}"


def _masked(reason: str, config: Mapping[str, Any]) -> str:
    values = {str(value) for value in config.values()}
    parts = values | {part for value in values for part in _PARTS.split(value)}
    for part in sorted(parts - {""}, key=len, reverse=True):
        reason = re.sub(rf"(?<![\w.]){re.escape(part)}(?![\w.])", "…", reason)
    return " ".join(reason.split())
