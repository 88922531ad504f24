-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

-- The same by the time of their records.
create index concurrently orders_by_record_time on orders (record_time, id);
