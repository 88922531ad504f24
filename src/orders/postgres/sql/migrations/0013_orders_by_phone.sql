-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

-- Orders with a phone number. In buckets of ids: see docs/decisions/0037-search-by-b-trees.md.
create index concurrently orders_by_phone on orders ((id >> 20), (search_phone(delivery_phone) collate "C"), id);
