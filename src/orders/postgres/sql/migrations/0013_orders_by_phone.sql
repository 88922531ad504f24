-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

create index concurrently orders_by_phone on orders ((search_phone(delivery_phone) collate "C"), id);
