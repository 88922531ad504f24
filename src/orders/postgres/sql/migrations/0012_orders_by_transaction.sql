-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

create index concurrently orders_by_transaction on orders ((left(payment_transaction, 64) collate "C"), id);
