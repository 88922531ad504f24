-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

-- Orders with a payment; where it is called as its order, the key finds it. In buckets of ids: see
-- docs/decisions/0037-search-by-b-trees.md.
create index concurrently orders_by_transaction on orders ((id >> 20), (left(payment_transaction, 64) collate "C"), id)
where payment_transaction <> order_uid;
