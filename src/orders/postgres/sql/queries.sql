-- Every statement of the service. `-- name:` and one line of purpose each; parameters are bound, never formatted in.

---- ingest ----

-- name: end_overdue
-- Ends writers that hold positions for longer than a transaction may take. One of which PostgreSQL awaits the rest of a
-- COPY hears of no time-out, and before PostgreSQL 17 there is none for a whole transaction.
select pg_terminate_backend(pid) from pg_stat_activity as session
where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
    and application_name = current_setting('application_name')
    and xact_start < clock_timestamp() - make_interval(secs => %(seconds)s)
    and exists (select from pg_locks
                where pg_locks.pid = session.pid and relation = 'positions'::regclass and mode = 'RowShareLock')

-- name: lock_positions
-- Holds the partitions of a batch until it commits; a row that differs from where the batch begins stops it.
select partition, next_offset, stop is not null, read_below, refused, counted_from from positions
where topic_id = %(topic_id)s and partition = any(%(partitions)s)
order by partition for update

-- name: seen_uids
-- Which uids of a batch are stored: mostly none is, and nothing has to be locked. They come as one text, joined by
-- commas, which no uid has: to write an array of 2,000 took psycopg a microsecond for each.
select order_uid from orders where order_uid = any(string_to_array(%(uids)s, ',')) order by order_uid

-- name: known_orders
-- The rows that a batch meets, locked in the order of their uids. Where another transaction wrote a row again while
-- this one waited for its lock, the uid stands alone: the row was seen, is gone, and is to be asked for again.
-- A moment that no `datetime` holds (infinity, BC, year 10000), written by hand, comes as null: it is like no other.
with locked as (
    select order_uid, track_number, entry, delivery_name, delivery_phone, delivery_zip, delivery_city,
           delivery_address, delivery_region, delivery_email, payment_transaction, payment_request_id,
           payment_currency, payment_provider, payment_amount, payment_dt, payment_bank, payment_delivery_cost,
           payment_goods_total, payment_custom_fee, items::text, locale, internal_signature, customer_id,
           delivery_service, shardkey, sm_id,
           case when date_created >= '0001-01-01 00:00+00' and date_created < '9999-12-31 24:00+00' then date_created end,
           oof_shard, extra::text, id, version, topic_id, partition, "offset",
           case when isfinite(record_time) then (extract(epoch from record_time) * 1000)::bigint end as milliseconds
    from orders where order_uid = any(%(uids)s)
    order by order_uid for update
)
select seen.order_uid, locked.*
from (select order_uid from orders where order_uid = any(%(uids)s)) as seen
left join locked on locked.order_uid = seen.order_uid

-- name: dead_letters_at
-- Which of the dead letters that records say they replay there are.
select topic_id, partition, "offset" from dead_letters
where (topic_id, partition, "offset") in (
    select * from unnest(%(topic_ids)s::text[], %(partitions)s::int[], %(offsets)s::bigint[])
)

-- name: replayed_into
-- Of known rows that came from replays: the records that became the dead letters. The newest replay stands last.
select o.order_uid, d.topic_id, d.partition, d."offset",
       case when isfinite(d.record_time) then (extract(epoch from d.record_time) * 1000)::bigint end
from orders o
join dead_letter_actions a
    on a.action = 'outcome' and (a.topic_id, a.partition, a."offset") = (o.topic_id, o.partition, o."offset")
join dead_letters d on d.id = a.dead_letter
where o.order_uid = any(%(uids)s)
order by a.id

-- name: draw_ids
-- Numbers for the new orders of a batch, ascending.
select nextval('order_ids') from generate_series(1, %(count)s)

-- name: draw_versions
-- One version for every order that a batch writes or deletes, ascending.
select nextval('order_versions') from generate_series(1, %(count)s)

-- name: delete_orders
-- Takes away the rows that a batch deletes or writes again.
delete from orders where order_uid = any(%(uids)s)

-- name: copy_orders
-- Writes new and changed orders.
copy orders (
    order_uid, track_number, entry, delivery_name, delivery_phone, delivery_zip, delivery_city, delivery_address,
    delivery_region, delivery_email, payment_transaction, payment_request_id, payment_currency, payment_provider,
    payment_amount, payment_dt, payment_bank, payment_delivery_cost, payment_goods_total, payment_custom_fee,
    items, locale, internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created,
    oof_shard, extra, id, version, topic_id, partition, "offset", record_time
) from stdin (format binary)

-- name: add_dead_letter
-- Keeps a refused message; a record that is read again is kept once.
insert into dead_letters (
    topic, topic_id, partition, "offset", record_time, key, value, header_names, header_values, reason, path, note
) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict do nothing

-- name: add_replay_outcome
-- Records what became of a dead letter's replay; a record that is read again is recorded once.
insert into dead_letter_actions
    (dead_letter, action, state, attempt, forced, outcome, reason, path, topic_id, partition, "offset")
select id, 'outcome', %(state)s, %(attempt)s, %(forced)s, %(outcome)s, %(reason)s, %(path)s, %(topic_id)s,
       %(partition)s, %(offset)s
from dead_letters
where (topic_id, partition, "offset") = (%(dead_letter_topic_id)s, %(dead_letter_partition)s, %(dead_letter_offset)s)
on conflict do nothing

-- name: add_outcome
-- Reports to a waiting producer what became of its record; a record that is read again keeps its first outcome.
insert into outcomes (topic_id, partition, "offset", outcome, order_uid, version, reason, path)
values (%s, %s, %s, %s, %s, %s, %s, %s)
on conflict do nothing

-- name: advance_positions
-- Moves partitions to the first offsets that are not in this transaction.
update positions set next_offset = moved.next_offset, leader_epoch = moved.epoch, refused = moved.refused, at = now()
from unnest(%(partitions)s::int[], %(offsets)s::bigint[], %(epochs)s::int[], %(refused)s::bytea[])
    as moved (partition, next_offset, epoch, refused)
where topic_id = %(topic_id)s and positions.partition = moved.partition

-- name: stop_partition
-- Says that a partition is not to be read on from where it stands, unless that was said already.
update positions set stop = %s, stop_reason = %s, stopped_at = now()
where topic_id = %s and partition = %s and next_offset = %s and stop is null

-- name: places_of_topic
-- Where each partition of a topic stands, under whatever topic id, why it is not read on if it is not, and for how many
-- seconds it has been a new one.
select topic_id, partition, next_offset, leader_epoch, stop, stop_reason, read_below,
       extract(epoch from now() - new_since)::float8
from positions where topic = %(topic)s

-- name: notify_changes
-- Notifies the keepers of other machines which known orders changed.
select pg_notify('orders_changed', %s)

-- name: positions_of_topic
-- Where each partition of a topic stands, under whatever topic id.
select topic_id, partition, next_offset from positions where topic = %(topic)s

-- name: begin_positions
-- Partitions without a position start at their low watermarks; new ones of a topic that had others before are not read yet.
insert into positions (topic, topic_id, partition, next_offset, new_since, read_below)
select %(topic)s, %(topic_id)s, begun.partition, begun.next_offset,
       case when known then now() end, case when known then begun.next_offset end
from unnest(%(partitions)s::int[], %(offsets)s::bigint[]) as begun (partition, next_offset),
     lateral (select exists (select from positions where topic_id = %(topic_id)s) as known) as topic
order by begun.partition
on conflict do nothing

-- name: open_partition
-- Lets a new partition be read below an offset, or wholly, if the older ones are stored up to the ends that are awaited.
update positions set read_below = case when %(is_last)s then null else %(end)s end,
                     new_since = case when %(is_last)s then null else new_since end
where topic_id = %(topic_id)s and partition = %(partition)s
      and (read_below <= %(end)s or read_below is not null and %(is_last)s) and not exists (
    select from unnest(%(awaited)s::int[], %(ends)s::bigint[]) as older (partition, next_offset)
    left join positions stored on stored.topic_id = %(topic_id)s and stored.partition = older.partition
    where stored.next_offset >= older.next_offset is not true)

---- keeper ----

-- name: newest_id
-- The id of the order that has as many newer ones as given: where a restore begins.
select id from orders order by id desc offset %(newer)s limit 1

-- name: estimate_orders
-- About how many orders there are: PostgreSQL's own estimate, for counting ten million takes a minute.
select greatest(reltuples, 0)::bigint from pg_class where oid = 'orders'::regclass

-- name: rows_at_once
-- The restore reads by the index of ids from now on: a sort gives no row before it has all.
set local enable_sort = off

-- name: documents_from
-- Reads orders for the restore as they are served, oldest first; `text` is taken as bytes, `varchar` is decoded.
select order_uid::varchar, version, document from documents where id >= %(id)s order by id

-- name: orders_after
-- The orders from the last one that was read on, without their documents: one of them has none that can be made.
select order_uid, id from orders
where id >= coalesce((select id from orders where order_uid = %(uid)s), %(id)s) order by id limit %(limit)s

-- name: document_of
-- The document of one order, as `documents_from` gives it.
select order_uid::varchar, version, document from documents where order_uid = %(uid)s

-- name: prune_outcomes
-- Forgets outcomes that nobody waits for any more, so many at a time.
delete from outcomes where (topic_id, partition, "offset") in (
    select topic_id, partition, "offset" from outcomes
    where at < now() - interval '10 minutes' order by at limit %(most)s for update skip locked
)

-- name: free_notices
-- Frees what of the queue of notices was read by all: once it was full, PostgreSQL does so only when asked this.
select pg_notification_queue_usage()

-- name: identity
-- Which database this is and what it holds: the system, its timeline, the positions and when they were reached: those of
-- an older copy of the data may have gone back and come to the same offsets by other commits.
select (select system_identifier from pg_control_system())::text || ' '
    || (select timeline_id from pg_control_checkpoint())::text || ' '
    || coalesce((select string_agg(concat_ws(':', topic_id, partition, next_offset, at), ' ' order by topic_id, partition)
                 from positions), '')

---- serve ----

-- name: documents_by_uid
-- The orders that GETs wait for, as they are served.
select order_uid, version, document from documents where order_uid = any(%(uids)s)

-- name: outcomes_at
-- What became of the records that POSTs wait for.
select o.topic_id, o.partition, o."offset", o.outcome, o.order_uid, coalesce(o.reason, ''), coalesce(o.path, '')
from unnest(%(topic_ids)s::text[], %(partitions)s::int[], %(offsets)s::bigint[]) as place (topic_id, partition, "offset")
join outcomes o using (topic_id, partition, "offset")

---- commands ----

-- name: count_orders
-- How many orders there are, and whether that is exact: beyond so many PostgreSQL's own density of the table is taken
-- for all of its pages, for counting ten million takes a minute.
select case when seen < %(most)s then seen
            else greatest(seen, (reltuples / greatest(relpages, 1)
                                 * (pg_relation_size(oid) / current_setting('block_size')::int))::bigint) end,
       seen < %(most)s
from pg_class, (select count(*) as seen from (select from orders limit %(most)s) as first) as counted
where oid = 'orders'::regclass

-- name: open_dead_letters
-- How many nobody has replayed or discarded.
select count(*) from dead_letters d
where not exists (select from dead_letter_actions a where a.dead_letter = d.id and a.state is not null)

-- name: standing_partitions
-- Where the partitions of a topic stand and why some are not read on; of a topic that was recreated, the newest's.
select partition, next_offset, coalesce(stop, case when read_below is not null then 'new' end), stop_reason
from positions
where topic = %(topic)s
    and topic_id = (select topic_id from positions where topic = %(topic)s order by at desc limit 1)
order by partition

-- name: newest_dead_letters
-- Where refused messages stood, their keys, what is wrong and what became of them; never their content.
select id, topic, partition, "offset", record_time, at, key, reason, path, state, edited
from dead_letter_states
where (%(reason)s::text is null or strpos(lower(reason), lower(%(reason)s)) > 0)
    and (%(since)s::timestamptz is null or at >= %(since)s) and (%(until)s::timestamptz is null or at < %(until)s)
    and (%(topic)s::text is null or topic = %(topic)s) and (%(partition)s::int is null or partition = %(partition)s)
    and (%(state)s::text is null or state = %(state)s) and (%(ids)s::bigint[] is null or id = any(%(ids)s))
order by id desc limit %(limit)s

-- name: chosen_dead_letters
-- The ids of those that are meant, oldest first; and how many are left out for their state.
select coalesce(array_agg(id order by id) filter (where %(state)s::text is null or state = %(state)s), '{}'),
       count(*) filter (where state <> %(state)s::text)
from dead_letter_states
where (%(reason)s::text is null or strpos(lower(reason), lower(%(reason)s)) > 0)
    and (%(since)s::timestamptz is null or at >= %(since)s) and (%(until)s::timestamptz is null or at < %(until)s)
    and (%(topic)s::text is null or topic = %(topic)s) and (%(partition)s::int is null or partition = %(partition)s)
    and (%(ids)s::bigint[] is null or id = any(%(ids)s))

-- name: dead_letter
-- One with its bytes; and the bytes of its last edit.
select s.id, s.topic, s.topic_id, s.partition, s."offset", s.record_time, s.at, s.reason, s.path, s.state, d.note,
       d.key, d.value, d.header_names, d.header_values, s.edited,
       (select a.value from dead_letter_actions a
        where a.dead_letter = s.id and a.action = 'edit' order by a.id desc limit 1)
from dead_letter_states s join dead_letters d on d.id = s.id
where s.id = %(id)s

-- name: actions_of_dead_letter
-- What was done about one, in order; never its bytes.
select action, at, by_user, by_host, state, forced, outcome, reason, path, topic_id, partition, "offset"
from dead_letter_actions where dead_letter = %(id)s order by id

-- name: dead_letter_offsets
-- Which records of a partition became dead letters, between two offsets.
select "offset" from dead_letters
where topic_id = %(topic_id)s and partition = %(partition)s and "offset" >= %(begin)s and "offset" < %(end)s

-- name: add_dead_letter_action
-- Keeps what somebody does about one.
insert into dead_letter_actions (dead_letter, action, state, by_user, by_host, attempt, forced, value)
values (%s, %s, %s, %s, %s, %s, %s, %s)

-- name: outcomes_of_attempts
-- What became of replays that somebody waits for.
select attempt, outcome, reason, path, partition, "offset"
from dead_letter_actions where action = 'outcome' and attempt = any(%(attempts)s)

---- copies of dead letters ----

-- name: begin_copies
-- A partition without copies has all of them before it.
insert into dead_letter_copies (target, topic_id, partition, next_offset)
select %(target)s, topic_id, partition, 0 from positions where topic = %(topic)s
on conflict do nothing

-- name: due_copies
-- Partitions whose position is not that of their copies: it moved, or was set back.
select c.topic_id, c.partition, p.next_offset
from dead_letter_copies c join positions p using (topic_id, partition)
where c.target = %(target)s and p.topic = %(topic)s and c.next_offset <> p.next_offset
order by c.topic_id, c.partition

-- name: hold_copies
-- Holds the copies of a partition, unless another machine does.
select next_offset from dead_letter_copies
where target = %(target)s and topic_id = %(topic_id)s and partition = %(partition)s
for update skip locked

-- name: dead_letters_between
-- The next ones of a partition, with their bytes.
select id, topic, partition, "offset", key, value, header_names, header_values, reason, path
from dead_letters
where topic_id = %(topic_id)s and partition = %(partition)s and "offset" >= %(begin)s and "offset" < %(end)s
order by "offset" limit %(most)s

-- name: advance_copies
-- How far the copies of a partition are.
update dead_letter_copies set next_offset = %(next_offset)s, at = now()
where target = %(target)s and topic_id = %(topic_id)s and partition = %(partition)s

-- name: lock_places
-- Holds all positions of a topic while somebody decides where its stopped partitions continue.
select topic_id, partition, next_offset, stop, stop_reason, read_below from positions where topic = %(topic)s
order by topic_id, partition for update

-- name: resume_partition
-- Lets a partition continue from an offset; its dead letters are counted again. One of a topic recreated has no row yet.
insert into positions (topic, topic_id, partition, next_offset, counted_from)
values (%(topic)s, %(topic_id)s, %(partition)s, %(to_offset)s, %(counted_from)s)
on conflict (topic_id, partition) do update
set leader_epoch = case when positions.next_offset = excluded.next_offset and not %(forget_epoch)s
                        then positions.leader_epoch end,
    next_offset = excluded.next_offset, counted_from = excluded.counted_from, refused = '',
    new_since = case when not %(is_released)s then positions.new_since end,
    read_below = case when not %(is_released)s then positions.read_below end,
    stop = null, stop_reason = null, stopped_at = null, at = now()

-- name: add_resume
-- Notes who let a partition continue.
insert into resumes (who, topic, topic_id, partition, stop, stop_reason, from_offset, to_offset, counted_from)
values (%(who)s, %(topic)s, %(topic_id)s, %(partition)s, %(stop)s, %(stop_reason)s, %(from_offset)s, %(to_offset)s,
        %(counted_from)s)

-- name: forget_orders
-- After a log truncation: orders no longer come from records that Kafka lost, whose offsets others have now.
update orders set "offset" = %(to_offset)s - 1
where topic_id = %(topic_id)s and partition = %(partition)s and "offset" >= %(to_offset)s

-- name: forget_dead_letters
-- The same of dead letters, which are kept under another topic id.
update dead_letters set topic_id = topic_id || ' before ' || now()
where topic_id = %(topic_id)s and partition = %(partition)s and "offset" >= %(to_offset)s

-- name: forget_actions
-- The same of what became of replays.
update dead_letter_actions set topic_id = topic_id || ' before ' || now()
where topic_id = %(topic_id)s and partition = %(partition)s and "offset" >= %(to_offset)s

-- name: forget_copies
-- Dead letters that come to those offsets are copied too.
update dead_letter_copies set next_offset = %(to_offset)s
where topic_id = %(topic_id)s and partition = %(partition)s and next_offset > %(to_offset)s

-- name: forget_outcomes
-- The same of outcomes, which nobody waits for any more.
delete from outcomes where topic_id = %(topic_id)s and partition = %(partition)s and "offset" >= %(to_offset)s

---- verification ----

-- name: orders_to_verify
-- Every order with the place of its record, and the document that is served of it as bytes.
select o.order_uid, o.topic_id = %(topic_id)s, o.partition, o."offset", o.version, convert_to(d.document, 'UTF8')
from orders o join documents d using (order_uid)

-- name: dead_letters_to_verify
-- Every dead letter, whole, with the place of its record.
select topic_id = %(topic_id)s, topic = %(topic)s, partition, "offset", key, value, header_names, header_values, reason
from dead_letters

-- name: duplicate_numbers
-- Ids and versions that several orders have: no index of `orders` forbids them.
select 'duplicate id', min(order_uid) from orders group by id having count(*) > 1
union all
select 'duplicate version', min(order_uid) from orders group by version having count(*) > 1

-- name: replays_to_verify
-- What became of each record that replayed a dead letter.
select partition, "offset", outcome from dead_letter_actions where action = 'outcome' and topic_id = %(topic_id)s

-- name: skips_to_verify
-- Records that somebody left out when he let a partition continue: from the first offset up to, not with, the second.
select partition, from_offset, to_offset from resumes where topic_id = %(topic_id)s and from_offset < to_offset

---- the schema ----

-- name: applied_migrations
-- What was applied. An earlier release made the table without the column: a role that only reads it adds none.
select name, sha256, to_jsonb(m) ->> 'compatible_with' from migrations m

-- name: add_migration
-- Notes that a migration is applied; one that two sessions note stands once.
insert into migrations (name, sha256, compatible_with) values (%(name)s, %(sha256)s, %(compatible_with)s)
on conflict do nothing

-- name: owns_tables
-- Whether the role may build indexes, and note them.
select bool_and(pg_has_role(relowner, 'usage')) from pg_class where oid in ('orders'::regclass, 'migrations'::regclass)

-- name: index_states
-- How indexes are, in the order of the names that are asked for. PostgreSQL hides another role's progress, but not the
-- name that its session goes by: `orders index NAME` while it builds. Counts are of blocks, or of what the phase is about.
select wanted.name,
       case when i.indisvalid then 'valid' when building.pid is not null then 'building'
            when i.indexrelid is not null then 'invalid' else 'missing' end,
       coalesce(p.phase, ''),
       coalesce(case when p.phase like 'waiting%%' then p.lockers_done
                     when p.phase like '%%tuples%%' then p.tuples_done else p.blocks_done end, 0),
       coalesce(case when p.phase like 'waiting%%' then p.lockers_total
                     when p.phase like '%%tuples%%' then p.tuples_total else p.blocks_total end, 0)
from unnest(%(names)s::text[]) with ordinality as wanted (name, place)
left join pg_index i on i.indexrelid = to_regclass(wanted.name) and i.indrelid = 'orders'::regclass
left join lateral (
    select pid from pg_stat_activity
    where datname = current_database() and application_name = 'orders index ' || wanted.name
    union
    select pid from pg_stat_progress_create_index
    where datname = current_database() and index_relid = i.indexrelid
    limit 1
) as building on true
left join pg_stat_progress_create_index p on p.pid = building.pid
order by wanted.place
