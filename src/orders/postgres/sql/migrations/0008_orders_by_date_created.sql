-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

-- Lists of orders by their own time: newest first, in a range.
create index concurrently orders_by_date_created on orders (date_created, id);
