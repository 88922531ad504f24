"""The write path, in its order.

run                an ingest process put together
loop               poll, decode, batch, write; in an outage pause, and try again
batcher            records to a batch
writer             a batch to one transaction, then memory: the order of the effects on one screen
fold               what the records of a batch make of the stored orders
dead_letter_limit  how many dead letters stop a partition
store              the steps of the transaction
counters           what a batch adds to the metrics
"""
