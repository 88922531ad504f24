-- A partition that may not be read on says so in its row: a stop outlives the ingest that met it, and holds for any other.

alter table positions
    add column leader_epoch integer,
    add column refused      bytea  not null default '',
    add column counted_from bigint not null default 0,
    add column stop         text,
    add column stop_reason  text,
    add column stopped_at   timestamptz;
comment on column positions.leader_epoch is 'leader epoch of the last record before next_offset; null: not known';
comment on column positions.refused is 'which of the last records became dead letters, a bit each, the newest lowest';
comment on column positions.counted_from is 'records below this offset do not count towards the limit of dead letters';
comment on column positions.stop is 'why the partition is not read on, in one word; null: it is';

create table resumes (
    id           bigint generated always as identity primary key,
    at           timestamptz not null default now(),
    who          text        not null,
    role         text        not null default session_user,
    topic        text        not null,
    topic_id     text        not null,
    partition    integer     not null,
    stop         text        not null,
    stop_reason  text        not null,
    from_offset  bigint,
    to_offset    bigint      not null,
    counted_from bigint      not null
);
comment on table resumes is 'who let a stopped partition go on, when, and where';
