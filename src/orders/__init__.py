"""An order service. How an order flows, package by package:

kafka         Kafka to records, from positions of our own
decoder       bytes to an order, or to the reason why it is none
ingest        records to a batch, a batch to one transaction, and the order of all effects
postgres      connections, the schema, the statements
memory        the served bytes of the newest orders, shared by all processes of a machine
http, api     GET from memory or PostgreSQL; POST as a record that waits for its own outcome
pages         what people look at
dead_letters  messages that were refused, and what is done with them
metrics       what is counted
commands      what a person calls; `system` runs it all, `doctor` and `verify` look at it
"""

__version__ = "0.1.0"
