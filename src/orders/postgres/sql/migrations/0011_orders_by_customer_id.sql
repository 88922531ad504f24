-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

create index concurrently orders_by_customer_id on orders ((left(customer_id, 64) collate "C"), id);
