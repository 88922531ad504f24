-- What was done about dead letters. Rows are only added: a dead letter keeps the bytes that came, and its state is the
-- last one that stands here; a dead letter without any is open.

create table dead_letter_actions (
    id          bigint generated always as identity primary key,
    dead_letter bigint      not null,
    action      text        not null check (action in ('edit', 'replay', 'outcome', 'discard', 'export')),
    state       text        check (state in ('replayed', 'discarded')),
    at          timestamptz not null default now(),
    by_user     text,
    by_host     text,
    attempt     text,
    forced      boolean,
    outcome     text,
    reason      text,
    path        text,
    topic_id    text,
    partition   integer,
    "offset"    bigint,
    value       bytea
);
comment on table dead_letter_actions is 'audit of what was done about dead letters; rows are only added';
comment on column dead_letter_actions.dead_letter is 'id of the row in dead_letters';
comment on column dead_letter_actions.state is 'what the action made of the dead letter; null: it stays what it was';
comment on column dead_letter_actions.by_user is 'user of the operating system; null: the service itself';
comment on column dead_letter_actions.attempt is 'names one replay; its record carries it, and its outcome has it';
comment on column dead_letter_actions.topic_id is 'with partition and offset the place of the record that a replay made';
comment on column dead_letter_actions.value is 'the bytes of an edit: they are replayed in place of what came';

create index dead_letter_actions_letter on dead_letter_actions (dead_letter, id);
create unique index dead_letter_actions_attempt on dead_letter_actions (attempt, dead_letter) where action = 'outcome';
create index dead_letter_actions_place on dead_letter_actions (topic_id, partition, "offset") where action = 'outcome';

create view dead_letter_states as
select d.id, d.topic, d.topic_id, d.partition, d."offset", d.record_time, d.at, d.key, d.reason, d.path,
       coalesce((select a.state from dead_letter_actions a
                 where a.dead_letter = d.id and a.state is not null order by a.id desc limit 1), 'open') as state,
       exists (select from dead_letter_actions a where a.dead_letter = d.id and a.action = 'edit') as edited
from dead_letters d;
comment on view dead_letter_states is 'dead letters without their content, and what became of them';

create table dead_letter_copies (
    target      text        not null,
    topic_id    text        not null,
    partition   integer     not null,
    next_offset bigint      not null,
    at          timestamptz not null default now(),
    primary key (target, topic_id, partition)
);
comment on table dead_letter_copies is 'per topic of copies and partition: below this offset each dead letter has its copy';
