-- An order is written and read whole: one row. `json`, not `jsonb`: what is stored is byte for byte what is served.

create sequence order_ids;
create sequence order_versions;

create table orders (
    order_uid              text collate "C" primary key,
    track_number           text        not null,
    entry                  text        not null,
    delivery_name          text        not null,
    delivery_phone         text        not null,
    delivery_zip           text        not null,
    delivery_city          text        not null,
    delivery_address       text        not null,
    delivery_region        text        not null,
    delivery_email         text        not null,
    payment_transaction    text        not null,
    payment_request_id     text        not null,
    payment_currency       text        not null,
    payment_provider       text        not null,
    payment_amount         bigint      not null,
    payment_dt             bigint      not null,
    payment_bank           text        not null,
    payment_delivery_cost  bigint      not null,
    payment_goods_total    bigint      not null,
    payment_custom_fee     bigint      not null,
    items                  json        not null,
    locale                 text        not null,
    internal_signature     text        not null,
    customer_id            text        not null,
    delivery_service       text        not null,
    shardkey               text        not null,
    sm_id                  bigint      not null,
    date_created           timestamptz not null,
    oof_shard              text        not null,
    extra                  json,
    id                     bigint      not null,
    version                bigint      not null,
    topic_id               text        not null,
    partition              integer     not null,
    "offset"               bigint      not null,
    record_time            timestamptz
);
comment on table orders is 'one row an order, as the topic up to the stored positions says';
comment on column orders.extra is 'unknown fields of the order, its delivery and its payment, as the text that came';
comment on column orders.id is 'number in order of arrival; served, and drawn before the row is written';
comment on column orders.version is 'drawn from order_versions for every write, never below the old one + 1';

-- Not unique: nothing that lacks order_uid may be, so that the table can be distributed by it.
create index orders_id on orders (id);

create table positions (
    topic       text        not null,
    topic_id    text        not null,
    partition   integer     not null,
    next_offset bigint      not null,
    at          timestamptz not null default now(),
    primary key (topic_id, partition)
);
comment on table positions is 'per partition the offset of the first record that is not yet in this database';

create table dead_letters (
    id            bigint generated always as identity,
    topic         text        not null,
    topic_id      text        not null,
    partition     integer     not null,
    "offset"      bigint      not null,
    record_time   timestamptz,
    key           bytea,
    value         bytea,
    header_names  text[]      not null,
    header_values bytea[]     not null,
    reason        text        not null,
    path          text        not null,
    note          text,
    at            timestamptz not null default now(),
    primary key (topic_id, partition, "offset")
);
comment on table dead_letters is 'messages that were refused, with their bytes and why';
create index dead_letters_id on dead_letters (id);

create table outcomes (
    topic_id  text        not null,
    partition integer     not null,
    "offset"  bigint      not null,
    outcome   text        not null,
    order_uid text,
    version   bigint,
    reason    text,
    path      text,
    at        timestamptz not null default now(),
    primary key (topic_id, partition, "offset")
);
comment on table outcomes is 'what became of records whose producer waits; pruned after minutes';
create index outcomes_at on outcomes (at);

create view deliveries as
select order_uid, delivery_name as name, delivery_phone as phone, delivery_zip as zip, delivery_city as city,
       delivery_address as address, delivery_region as region, delivery_email as email
from orders;

create view payments as
select order_uid, payment_transaction as transaction, payment_request_id as request_id, payment_currency as currency,
       payment_provider as provider, payment_amount as amount, payment_dt, payment_bank as bank,
       payment_delivery_cost as delivery_cost, payment_goods_total as goods_total, payment_custom_fee as custom_fee
from orders;

create view items as
select o.order_uid, line.number as line, item.*
from orders o
cross join lateral json_array_elements(o.items) with ordinality as line (value, number)
cross join lateral json_to_record(line.value) as item (
    chrt_id bigint, track_number text, price bigint, rid text, name text, sale bigint, size text,
    total_price bigint, nm_id bigint, brand text, status bigint
);
