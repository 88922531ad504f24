"""A broker that comes back without its last records, as after a power loss: killed, its log cut, and started again."""

import os
import signal

from orders.embedded.kafka import KafkaService
from support.waiting import wait_for

HEAD_BYTES = 12
"""Of a batch, before its length counts: the base offset and the length itself (Kafka's record batch format)."""


def cut(kafka: KafkaService, topic: str, partition: int, batches: int) -> None:
    """Leaves a partition its first `batches`; what was produced one by one is a batch each."""
    pid = kafka.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not kafka.running(), "the broker's end")
    folder = kafka._directory / "data" / f"{topic}-{partition}"
    (log,) = folder.glob("*.log")
    log.write_bytes(first_of(log.read_bytes(), batches))
    for made in ("*.index", "*.timeindex", "*.snapshot"):  # they are recreated from the log
        for path in folder.glob(made):
            path.unlink()
    kafka.start()


def first_of(log: bytes, batches: int) -> bytes:
    end = 0
    for _ in range(batches):
        end += HEAD_BYTES + int.from_bytes(log[end + 8 : end + HEAD_BYTES], "big")
    assert end < len(log), "nothing to cut"
    return log[:end]
