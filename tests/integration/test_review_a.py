"""Scratch proofs."""
import threading, json, os
from pathlib import Path
import psycopg, pytest
from orders.errors import *
from orders.memory import Memory
from orders.migrations import migrate
from orders.pipeline import Writer
from orders.postgres import connect
from orders.record import Batch, Entry, Span, Condition, Record
from orders.store import Store
from support.entries import TOPIC_ID, delete, upsert, invalid, content
from support.waiting import wait_for

class B:
    def __init__(self, dsn, tmp_path):
        self.dsn=dsn
        self.memory=Memory.create(tmp_path/"m"/"f", 8*2**20)
        migrate(dsn)
        s=Store(lambda: connect(dsn,"test"),"orders")
        for p in range(3): s.begin(TOPIC_ID,p,0)
        s.close(); self.stores=[]
    def writer(self, at=lambda _:None, conn=None):
        st=Store(conn or (lambda: connect(self.dsn,"test")),"orders"); self.stores.append(st)
        return Writer(st,self.memory,at=at)
    def rows(self, sql):
        with psycopg.connect(self.dsn) as c: return c.execute(sql).fetchall()
    def run(self, sql):
        with psycopg.connect(self.dsn, autocommit=True) as c: c.execute(sql)

@pytest.fixture
def b(postgres_dsn,tmp_path):
    x=B(postgres_dsn,tmp_path)
    yield x
    for s in x.stores: s.close()
    x.memory.close()

def wr(w,*entries):
    spans={}
    for e in entries:
        r=e.record; s=spans.get(r.partition)
        spans[r.partition]=Span(s.begin if s else r.offset, r.offset+1)
    w.write(Batch(entries,spans),TOPIC_ID)

def test_hot_uid(b):
    wr(b.writer(), upsert("a",1,offset=0,partition=2))
    errs=[]
    def loop(p):
        w=b.writer()
        i=0
        while i<400:
            try: wr(w, upsert("a", 10000*p+i, partition=p, offset=i)); i+=1
            except Away as e: errs.append(str(e))
    ts=[threading.Thread(target=loop,args=(p,)) for p in (0,1)]
    [t.start() for t in ts]; [t.join() for t in ts]
    print(errs[:3], len(errs))
    assert b.rows("select reason from dead_letters")==[]

def test_lost_tombstone(b):
    wr(b.writer(), upsert("a",1,offset=0))
    other=b.writer()
    second=threading.Thread(target=wr,args=(other, delete("a",partition=1,offset=0)))
    def at(where):
        if where=="before commit":
            second.start()
            with psycopg.connect(b.dsn, autocommit=True) as c:
                wait_for(lambda: c.execute("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()").fetchone()!=(0,))
    wr(b.writer(at), upsert("a",2,offset=1))
    second.join()
    assert b.rows("select outcome from outcomes")==[("deleted",)]
    assert b.rows("select 1 from orders")==[]

def test_idle_in_tx(b):
    def conn():
        c=connect(b.dsn,"test"); c.execute("set idle_in_transaction_session_timeout='50ms'"); return c
    def at(where):
        if where=="before copy":
            with psycopg.connect(b.dsn, autocommit=True) as c:
                wait_for(lambda: c.execute("select count(*) from pg_stat_activity where state like 'idle in tr%' and datname = current_database()").fetchone()==(0,))
    with pytest.raises(Away) as info:
        wr(b.writer(at,conn), upsert("a",2,offset=0))
    print("IDLE", info.value, repr(info.value.__cause__), getattr(info.value.__cause__,"sqlstate",0))
    assert b.rows("select reason from dead_letters")==[]

def test_readonly_session(b):
    w=b.writer()
    wr(w, upsert("a",2,offset=0))
    b.run("alter database "+b.rows("select current_database()")[0][0]+" set default_transaction_read_only=on")
    w=b.writer()
    with pytest.raises(Away): wr(w, upsert("a",3,offset=1))
    with psycopg.connect(b.dsn, autocommit=True, options="-c default_transaction_read_only=off") as c: c.execute("alter database "+b.rows("select current_database()")[0][0]+" reset default_transaction_read_only")
    wr(w, upsert("a",3,offset=1))

def test_deferred(b):
    b.run("create function no() returns trigger language plpgsql as $$begin raise exception 'no' using errcode='23514'; end$$")
    b.run("create constraint trigger t after insert on orders deferrable initially deferred for each row execute function no()")
    with pytest.raises(SetupWrong): wr(b.writer(), upsert("a",2,offset=0), upsert("b",2,offset=1))
    assert b.rows("select reason from dead_letters")==[]

def test_encoding(b, monkeypatch):
    monkeypatch.setenv("PGCLIENTENCODING","latin1")
    c=content("a"); row=c.row._replace(delivery_name="Иван")
    from orders.order import Content, text
    wr(b.writer(), Entry(Record(0,0,1,None,b"{}"), Content(row,text(row))))
    assert b.rows("select reason from dead_letters")==[]

def test_header_none(b):
    e=invalid(offset=0)
    wr(b.writer(), Entry(Record(0,0,1,None,None,(("a",None),("\0",None))), e.content))
    assert len(b.rows("select reason from dead_letters"))==1
    wr(b.writer(), Entry(Record(0,1,-62135596800000,b"",b"",()), e.content),Entry(Record(0,2,253402300799999,b"",b"",()), e.content),Entry(Record(0,3,2**62,b"",b"",()), e.content), Entry(Record(0,4,-2**62,b"",b"",()), e.content))
    print(b.rows("select record_time::text from dead_letters"))

def test_plans(b):
    conns=[]
    def conn():
        c=connect(b.dsn,"test"); conns.append(c); return c
    w=b.writer(conn=conn)
    off=0
    for i in range(14):
        wr(w,*[upsert(f"u{off+k}",offset=off+k) for k in range(50)]); off+=50
    for r in conns[0].execute("select name, left(statement,80), generic_plans, custom_plans from pg_prepared_statements").fetchall(): print(r)
    for (n,st) in conns[0].execute("select name, statement from pg_prepared_statements where statement like '%from orders where%' ").fetchall():
        conns[0].execute("load 'auto_explain'") if 0 else None
        print("\n".join(x[0] for x in conns[0].execute(f"explain execute {n} ('{{a,b}}')").fetchall()))
