"""What Kafka's client says, in our words: something is unavailable, or something is misconfigured and this fixes it."""

import re

from confluent_kafka import KafkaError, KafkaException

from orders.errors import Misconfigured, OrdersError, TooLarge, Unavailable
from orders.settings import property_variable as variable

UNKNOWN_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})  # noqa: SLF001 - public names
NO_PERMISSION = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
"""The cluster's is what an idempotent producer hears that may write to no topic at all."""
LOGIN = frozenset({KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._AUTHENTICATION})  # noqa: SLF001 - public names
UNREACHED = frozenset(
    {
        KafkaError._TIMED_OUT,  # noqa: SLF001 - a public name
        KafkaError._TIMED_OUT_QUEUE,  # noqa: SLF001 - as above
        KafkaError._TRANSPORT,  # noqa: SLF001 - as above
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - as above
    }
)
"""What a request ends with when no broker could be asked; why, only the network threads know."""

GROUP = "$ORDERS_KAFKA_GROUP"
UNTRUSTED = re.compile(r"certificate verify failed")
REFUSED = re.compile(r"alert ((?:bad |unsupported |unknown )?(?:certificate|ca)\b[a-z ]*)")
REASON = re.compile(r"(?:\S+/(?:bootstrap|\d+): )?(.*?)(?: \(after .*)?", re.DOTALL)
"""An error of the client's network threads: broker, what happened, how long it took."""


def acl(permissions: str | list[str], kind: str, name: str) -> str:
    """The command that grants permissions to a `topic` or `group`."""
    operations = " ".join(
        f"--operation {permission}" for permission in ([permissions] if isinstance(permissions, str) else permissions)
    )
    return (
        f"kafka-acls.sh --bootstrap-server $ORDERS_KAFKA_BOOTSTRAP --add --allow-principal User:… {operations} "
        f"--{kind} {name}"
    )


def no_permission(permission: str, kind: str, name: str) -> Misconfigured:
    """A `topic` or `group` is closed to us; `permission` is named as `kafka-acls.sh` has it."""
    return Misconfigured(f"no {permission} permission on {kind} {name!r}; {acl(permission, kind, name)}")


def verdict(
    error: KafkaError, topic: str, *, permission: str = "Describe", group: str = GROUP
) -> Unavailable | Misconfigured:
    """Ours for librdkafka's: what is misconfigured comes with the command that fixes it.

    `permission` is the one that was needed.
    """
    code = error.code()
    if code in UNKNOWN_TOPIC:
        return Misconfigured(f"topic {topic!r} does not exist: make it with `orders topics create`")
    if code in NO_PERMISSION:
        return no_permission(permission, "topic", topic)
    if code == KafkaError.GROUP_AUTHORIZATION_FAILED:
        return no_permission("Read", "group", group)
    if code in LOGIN:
        return refused_login(error)
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return TooLarge(f"topic {topic!r} takes smaller messages only; raise its max.message.bytes to 1048588")
    return Unavailable(f"Kafka is unavailable ({error.name()})")


def refused_login(error: KafkaError) -> Misconfigured:
    return Misconfigured(
        f"Kafka refused the login ({reason(error)}): correct {variable('sasl.username')} and its secret"
    )


def reason(error: KafkaError) -> str:
    """What happened, without the broker and how long it took."""
    found = REASON.fullmatch(error.str())
    return re.sub(r"\bipv[46]#", "", found[1]) if found else error.name()


class LastClientError:
    """What a client's network threads met since it was last answered, its `error_cb`; called when it is polled."""

    def __init__(self) -> None:
        self._last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - a public name; it follows the cause
            self._last = error

    def forget(self) -> None:
        """A broker has answered."""
        self._last = None

    @property
    def reason(self) -> str:
        """Why no broker can be asked, as far as is known."""
        if self._last is None:
            return "no answer"
        if self._last.code() == KafkaError._BAD_MSG:  # noqa: SLF001 - a public name
            return "what answers speaks another protocol"
        return reason(self._last)

    def wrong(self) -> Misconfigured | None:
        """What is wrong with the login or the certificates, if that is in the way."""
        if self._last is None:
            return None
        if self._last.code() in LOGIN:
            return refused_login(self._last)
        said = self._last.str()
        if UNTRUSTED.search(said):
            name = variable("ssl.ca.location")
            return Misconfigured(f"the certificate of Kafka's brokers is not trusted: name its CA in {name}")
        if found := REFUSED.search(said):
            names = f"{variable('ssl.certificate.location')} and {variable('ssl.key.location')}"
            return Misconfigured(f"Kafka refused our certificate ({found[1]}): give one that it trusts in {names}")
        return None

    def trouble(self, error: KafkaException | TimeoutError, topic: str) -> OrdersError:
        """Ours for what a request about a topic ended with."""
        if isinstance(error, KafkaException) and error.args[0].code() not in UNREACHED:
            return verdict(error.args[0], topic)
        return self.wrong() or Unavailable(f"Kafka is unavailable ({self.reason})")
