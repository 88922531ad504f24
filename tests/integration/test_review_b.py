import json, threading
import psycopg, pytest
from orders.embedded.postgres import PostgresService
from orders.errors import *
from orders.memory import Memory
from orders.keeper import Keeper
from orders.postgres import connect
from orders.pipeline import Writer
from orders.store import Store
from orders.migrations import migrate
from support.services import FAST, open_folder, fresh_database
from support.entries import upsert, TOPIC_ID, delete
from support.waiting import wait_for
from test_review_a import B, wr, b

def test_notify_full(tmp_path):
    with open_folder() as folder:
        service = PostgresService(folder / "postgres", FAST | {"max_notify_queue_pages": "64"})
        service.start()
        try:
            with fresh_database(service) as dsn:
                b=B(dsn,tmp_path)
                wr(b.writer(), upsert("a",1,offset=0))
                with psycopg.connect(dsn) as lazy, psycopg.connect(dsn,autocommit=True) as c:
                    lazy.execute("listen orders_changed"); lazy.commit(); lazy.execute("select 1")
                    with pytest.raises(psycopg.Error) as i:
                        for n in range(200):
                            c.execute("select count(pg_notify('orders_changed', repeat('x', 7000) || n || %s::text)) from generate_series(1,10) n", (n,))
                    print("FULL", n, repr(i.value), i.value.sqlstate, i.value.diag.source_file)
                    with pytest.raises(Away):
                        wr(b.writer(), upsert("a",2,offset=1))
                assert b.rows("select 1 from dead_letters")==[]
                wr(b.writer(), upsert("a",2,offset=1))
                for s in b.stores: s.close()
                b.memory.close()
        finally: service.stop()

class M:
    def __init__(self,b,dsn=None):
        self.stop=threading.Event(); self.b=b
        self.errs=[]
        k=Keeper(lambda: connect(b.dsn,"keep"), b.memory, self.stop.is_set)
        self.k=k
        def run():
            try: k.run()
            except BaseException as e: self.errs.append(e)
        self.t=threading.Thread(target=run)
    def start(self):
        self.t.start(); wait_for(lambda: not self.b.memory.restore_wanted()); return self
    def end(self):
        self.stop.set(); self.t.join(10); assert not self.t.is_alive()

@pytest.mark.parametrize("payload",["x","{}",json.dumps({"memory":"m","changes":[["\ud800",1]]}),json.dumps({"memory":"m","changes":[["x"*600,1]]}),json.dumps({"memory":"m","changes":[["x",-1]]}), '[' * 5000, '{"memory":"m","changes":5}'])
def test_garbage_notice(b, payload):
    m=M(b).start()
    with psycopg.connect(b.dsn,autocommit=True) as c: c.execute("select pg_notify('orders_changed', %s)",(payload,))
    wr(b.writer(), upsert("a",1,offset=0))
    m.t.join(2.5)
    alive=m.t.is_alive(); m.end()
    assert alive, m.errs

def test_backlog_is_heard(b, tmp_path):
    "A notice that arrives with the answer of another query is heard."
    m=Memory.create(tmp_path/"x",2**22)
    wr(b.writer(), upsert("a",1,offset=0))
    k=Keeper(lambda:0, m, lambda: False)
    with connect(b.dsn,"keep") as c:
        c.execute("listen orders_changed")
        k._restore
        from orders.memory import Put
        from orders.timing import monotonic
        m.put([Put("a",1,b"{}")], monotonic())
        assert m.get(b"a")
        wr(b.writer(), upsert("a",2,offset=1))
        for _ in range(3): k._read_identity(c)
        k._hear(c,0)
        assert m.get(b"a") is None
    m.close()

def test_stop_in_restore(b):
    wr(b.writer(), *[upsert(f"u{i}",1,offset=i) for i in range(3000)])
    m=M(b)
    orig=b.memory.restore
    def restore(p,t):
        m.stop.set(); return orig(p,t)
    b.memory.restore=restore
    m.t.start(); m.t.join(10)
    assert not m.t.is_alive() and not m.errs
    import gc; gc.collect()
    assert b.rows("select count(*) from pg_stat_activity where application_name='orders keep' and datname=current_database()")==[(0,)]
