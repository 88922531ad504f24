-- As 0002 has it, but what only SQL by hand writes is served as JSON too: a part of `extra` that is empty or no object
-- holds no unknown fields, and a moment that is no date-time of RFC 3339 (before Christ, after 9999, infinity) is null.

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
) as document
from orders;
