"""An order service. The way of an order, module by module:

kafka      Kafka to records, from positions of our own
decoder    bytes to an order, or to the reason why it is none
batcher    records to a batch
pipeline   a batch to one transaction (`fold` decides, `store` writes), and the order of all effects
memory     the served bytes of the newest orders, shared by all processes of a machine
api        GET from memory or PostgreSQL; POST as a record that waits for its own outcome
http       the protocol
"""

__version__ = "0.1.0"
