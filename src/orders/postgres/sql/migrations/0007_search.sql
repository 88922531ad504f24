-- phase: pre
-- compatible-with: 0006_new_partitions.sql

-- What searches stand on: how a phone number and a text in any case are compared, and what a list shows of an order.

-- The last ten digits, or all if there are fewer. `translate` alone, for a regular expression takes three times as long.
create function search_phone(phone text) returns text language sql immutable parallel safe
return right(translate(phone, translate(phone, '0123456789', ''), ''), 10);

-- Letters in lower case, by the best that this PostgreSQL knows of Unicode: its own tables (from 17 on), ICU, the
-- operating system; without any of them only the letters of ASCII.
do $do$
declare
    known text := (
        select quote_ident(collname) from pg_collation
        where collnamespace = 'pg_catalog'::regnamespace
          and collencoding in (-1, (select encoding from pg_database where datname = current_database()))
          and collname in ('pg_c_utf8', 'und-x-icu', 'C.utf8', 'C.UTF-8', 'C')
        order by array_position(array['pg_c_utf8', 'und-x-icu', 'C.utf8', 'C.UTF-8', 'C'], collname::text)
        limit 1
    );
begin
    execute format(
        'create function search_fold(value text) returns text language sql immutable parallel safe return lower(value collate %s)',
        known
    );
end
$do$;

-- As 0005 has it, with the columns that are searched, and a line of a list: what is not personal.
create or replace view documents as
select order_uid, id, version, format(
    '{"order":{"id":%s,"order_uid":%s,"track_number":%s,"entry":%s,'
    '"delivery":{"name":%s,"phone":%s,"zip":%s,"city":%s,"address":%s,"region":%s,"email":%s%s,'
    '"payment":{"transaction":%s,"request_id":%s,"currency":%s,"provider":%s,"amount":%s,"payment_dt":%s,"bank":%s,'
    '"delivery_cost":%s,"goods_total":%s,"custom_fee":%s%s,'
    '"items":%s,"locale":%s,"internal_signature":%s,"customer_id":%s,"delivery_service":%s,"shardkey":%s,"sm_id":%s,'
    '"date_created":%s,"oof_shard":%s%s}',
    id, to_json(order_uid), to_json(track_number), to_json(entry),
    to_json(delivery_name), to_json(delivery_phone), to_json(delivery_zip), to_json(delivery_city),
    to_json(delivery_address), to_json(delivery_region), to_json(delivery_email),
    -- Unknown fields follow an object's own; they are kept as the text that came.
    coalesce(',' || substring((extra -> 'delivery')::text from '^\{(\s*".*)$'), '}'),
    to_json(payment_transaction), to_json(payment_request_id), to_json(payment_currency), to_json(payment_provider),
    payment_amount, payment_dt, to_json(payment_bank), payment_delivery_cost, payment_goods_total, payment_custom_fee,
    coalesce(',' || substring((extra -> 'payment')::text from '^\{(\s*".*)$'), '}'),
    items, to_json(locale), to_json(internal_signature), to_json(customer_id), to_json(delivery_service),
    to_json(shardkey), sm_id,
    case when date_created >= '0001-01-01 00:00+00' and date_created < '9999-12-31 24:00+00'
        then '"' || to_char(date_created at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
            || case when date_trunc('second', date_created) = date_created then '' else to_char(date_created, '.US') end
            || 'Z"'
        else 'null' end,
    to_json(oof_shard),
    coalesce(',' || substring((extra -> 'order')::text from '^\{(\s*".*)$'), '}')
    ) as document,
    track_number, customer_id, payment_transaction, delivery_phone, delivery_email, delivery_name, date_created, record_time,
    row_to_json((select line from (select
        order_uid, id, version,
        case when isfinite(record_time)
            then to_char(record_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') end as received,
        case when date_created >= '0001-01-01 00:00+00' and date_created < '9999-12-31 24:00+00'
            then to_char(date_created at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
                || case when date_trunc('second', date_created) = date_created then '' else to_char(date_created, '.US') end
                || 'Z' end as date_created,
        track_number, customer_id, delivery_service, delivery_city as city, payment_currency as currency,
        payment_amount as amount, json_array_length(items) as items, items -> 0 ->> 'name' as first_item,
        (items -> 0 ->> 'status')::bigint as status
    ) as line))::text as summary
from orders;
