-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

create index concurrently orders_by_track_number on orders ((left(track_number, 64) collate "C"), id);
