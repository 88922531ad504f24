-- A partition that a topic gained is read in rounds: each ends before `read_below`, and begins once the older partitions
-- are stored up to where they ended when the round was planned. So what an order was before is stored before what it became.

alter table positions
    add column new_since  timestamptz,
    add column read_below bigint;
comment on column positions.new_since is 'when the partition was found in a topic that had others before; null: it is an old one';
comment on column positions.read_below is 'records at and above this offset are not read yet; null: all may be read';
