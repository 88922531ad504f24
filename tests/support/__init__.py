"""What tests share; each module says what it is for, this is the map of them.

The run
    tiers           which tests run when, how long each took
    waiting         the one place where tests wait: for a condition, with a deadline
    background      something that runs in a thread beside a test
    processes       whether one has ended
    clocked, held   an event loop whose time is turned by hand; requests that wait until a test lets them go

Messages and orders
    entries         orders, records and entries in few words
    strategies      Hypothesis: orders as JSON, and exact comparison of JSON
    hostile         messages that nobody should send; mutations: messages of which some bytes were changed
    schema          databases as other releases leave them
    listed          rows that lists have, and the lists in plain Python
    transactions    records that come in transactions of their producer

Real services
    services        PostgreSQL and Kafka; a database and topics of a test's own
    shared          one of each for all workers of a run
    servers, roles  PostgreSQL with roles of a test's own, with TLS; standby: one that follows another
    installed       the system's own PostgreSQL
    secured         a Kafka with logins; acls: its permissions; certificates: who signs for it
    zookeeper       a Kafka of ZooKeeper's time
    proxied         a Kafka behind a proxy; fenced: one that its controller has fenced
    standin         a service that starts in no time; starter: a process that starts a service and is killed
    group           the consumer group, as the broker tells it
    dockerfile, programs, prometheus, promql    what the tests of images, dashboards and alerts stand on

The service, running
    machine         its processes, started one by one, so that a test can kill each
    killable        an ingest that dies at a named point; restarting: a machine that gets up by itself
    system          `orders run` and its commands, seen from outside; outputs: their JSON, held to its models
    starting        `orders run` from a clone, in a namespace, under a limit
    supervised      `orders run` as the checker wants it; stopping: a process that stops itself inside memory's write
    earlier         what an earlier commit stored, put into a database and topics; earlier_written: writes it
    upgrades        an earlier commit's code beside ours, millions of orders, rounds of records that are timed
    way             an order's way through a system, as a user goes it
    wire            HTTP: raw requests, servers of both lanes; rfc: what RFC 9110 and 9112 demand; problem: RFC 9457
    markup          HTML as a parser sees it
    metrics         what a scrape says; alerts: the rules, and when each fires; page: statements of a page of docs
    schemathesis_hooks    what Schemathesis gets beside its options

Faults
    traffic         a seeded stream of orders, and the model of what must have become of it
    load, poster    a stream, POSTs and GETs beside a fault; balancer: clients behind a load balancer
    checker         whether a machine holds what its topic says, invariant by invariant
    watching        what must hold at each moment; decided: each record is decided once
    proxy           a network that is slow, cut or silent
    cutting, backup, disk    a log that lost its end, older data put back, small disks

simulation          a simulated PostgreSQL, Kafka and clock around the real write path: `world` plays a schedule,
                    `events` says what may happen, `invariants` what must hold, `planted` the bugs that must be found
"""
