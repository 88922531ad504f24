-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

-- Orders with a customer. In buckets of ids: see docs/decisions/0037-search-by-b-trees.md.
create index concurrently orders_by_customer_id on orders ((id >> 20), (left(customer_id, 64) collate "C"), id);
