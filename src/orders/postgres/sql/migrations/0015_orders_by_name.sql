-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

create index concurrently orders_by_name on orders ((left(search_fold(delivery_name), 64) collate "C"), id);
