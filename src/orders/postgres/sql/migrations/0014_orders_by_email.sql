-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

create index concurrently orders_by_email on orders ((left(search_fold(delivery_email), 64) collate "C"), id);
