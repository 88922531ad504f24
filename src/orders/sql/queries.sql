-- Every statement of the service. `-- name:` and one line of purpose each; parameters are bound, never formatted in.

---- ingest ----

-- name: lock_positions
-- Holds the partitions of a batch until it commits; a row that differs from where the batch begins stops it.
select partition, next_offset from positions
where topic_id = %(topic_id)s and partition = any(%(partitions)s)
order by partition for update

-- name: seen_uids
-- Which uids of a batch are stored: mostly none is, and nothing has to be locked. They come as one text, joined by
-- commas, which no uid has: to write an array of 2,000 took psycopg a microsecond for each.
select order_uid from orders where order_uid = any(string_to_array(%(uids)s, ',')) order by order_uid

-- name: known_orders
-- The rows that a batch meets, locked in the order of their uids. Where another transaction wrote a row anew while
-- this one waited for its lock, the uid stands alone: the row was seen, is gone, and is to be asked for again.
-- A moment that no `datetime` holds (infinity, BC, year 10000), written by hand, comes as null: it is like no other.
with locked as (
    select order_uid, track_number, entry, delivery_name, delivery_phone, delivery_zip, delivery_city,
           delivery_address, delivery_region, delivery_email, payment_transaction, payment_request_id,
           payment_currency, payment_provider, payment_amount, payment_dt, payment_bank, payment_delivery_cost,
           payment_goods_total, payment_custom_fee, items::text, locale, internal_signature, customer_id,
           delivery_service, shardkey, sm_id,
           case when date_created >= '0001-01-01 00:00+00' and date_created < '9999-12-31 24:00+00' then date_created end,
           oof_shard, extra::text, id, version, topic_id, partition, "offset"
    from orders where order_uid = any(%(uids)s)
    order by order_uid for update
)
select seen.order_uid, locked.*
from (select order_uid from orders where order_uid = any(%(uids)s)) as seen
left join locked on locked.order_uid = seen.order_uid

-- name: draw_ids
-- Numbers for the new orders of a batch, ascending.
select nextval('order_ids') from generate_series(1, %(count)s)

-- name: draw_versions
-- One version for every order that a batch writes or deletes, ascending.
select nextval('order_versions') from generate_series(1, %(count)s)

-- name: delete_orders
-- Takes away the rows that a batch deletes or writes anew.
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

-- name: add_outcome
-- Tells a waiting producer what became of its record; a record that is read again keeps its first outcome.
insert into outcomes (topic_id, partition, "offset", outcome, order_uid, version, reason, path)
values (%s, %s, %s, %s, %s, %s, %s, %s)
on conflict do nothing

-- name: advance_positions
-- Moves partitions to the first offsets that are not in this transaction.
update positions set next_offset = moved.next_offset, at = now()
from unnest(%(partitions)s::int[], %(offsets)s::bigint[]) as moved (partition, next_offset)
where topic_id = %(topic_id)s and positions.partition = moved.partition

-- name: notify_changes
-- Tells the keepers of other machines which known orders changed.
select pg_notify('orders_changed', %s)

-- name: positions_of_topic
-- Where each partition of a topic stands, under whatever topic id.
select topic_id, partition, next_offset from positions where topic = %(topic)s

-- name: begin_position
-- A partition without a position starts at its low watermark.
insert into positions (topic, topic_id, partition, next_offset) values (%s, %s, %s, %s)
on conflict do nothing

---- keeper ----

-- name: newest_id
-- The id of the order that has as many newer ones as given: where a restore begins.
select id from orders order by id desc offset %(newer)s limit 1

-- name: count_orders_from
-- How many orders a restore will read.
select count(*) from orders where id >= %(id)s

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
-- Which database this is and what it holds: the system, its timeline, the positions.
select (select system_identifier from pg_control_system())::text || ' '
    || (select timeline_id from pg_control_checkpoint())::text || ' '
    || coalesce((select string_agg(concat_ws(':', topic_id, partition, next_offset), ' ' order by topic_id, partition)
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

-- name: newest_dead_letters
-- Where refused messages stood, their keys, and what is wrong; never their content.
select id, topic, partition, "offset", record_time, at, key, reason, path
from dead_letters order by id desc limit %(limit)s
