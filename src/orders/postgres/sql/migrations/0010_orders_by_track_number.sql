-- phase: post
-- transaction: no
-- compatible-with: 0006_new_partitions.sql

-- Orders with a track number. In buckets of ids: see docs/decisions/0037-search-by-b-trees.md.
create index concurrently orders_by_track_number on orders ((id >> 20), (left(track_number, 64) collate "C"), id);
