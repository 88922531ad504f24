"""Realistic orders without end, the same ones for the same seed on every Python.

Only `random()` is drawn from: its sequence is the one that Python promises to keep. People, phones and
addresses are made up; e-mails are at example.com.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random
from typing import TypeVar

Draw = Callable[[], float]
T = TypeVar("T")

_MEN = ("Иван", "ivan"), ("Пётр", "petr"), ("Олег", "oleg"), ("Тимур", "timur"), ("Лев", "lev")
_WOMEN = ("Анна", "anna"), ("Мария", "maria"), ("Ольга", "olga"), ("Дарья", "daria"), ("Юлия", "yulia")
_HIS = ("Тестов", "testov"), ("Примеров", "primerov"), ("Образцов", "obraztsov"), ("Пробный", "probny")
_HERS = ("Тестова", "testova"), ("Примерова", "primerova"), ("Образцова", "obraztsova"), ("Пробная", "probnaya")
_FIRST = "Test", "Alice", "Bruno", "Chloé", "David", "Emma", "Jürgen", "Lucía", "Noa", "Yael"
_LAST = "Testov", "Sample", "Example", "Muster", "Modelo", "Specimen", "Dupont", "Placeholder"
_PEOPLE = (
    *((f"{first} {last}", f"{a}.{b}") for (first, a), (last, b) in (*product(_MEN, _HIS), *product(_WOMEN, _HERS))),
    *((f"{first} {last}", f"{first[0]}.{last}".lower()) for first, last in product(_FIRST, _LAST)),
)
_PLACES = (
    ("Kiryat Mozkin", "Kraiot", "26"),
    ("Haifa", "Haifa District", "31"),
    ("Berlin", "Brandenburg", "10"),
    ("Łódź", "Łódzkie", "90"),
    ("São Paulo", "SP", "01"),
    ("Москва", "Московская область", "10"),
    ("Казань", "Республика Татарстан", "42"),
    ("Нижний Новгород", "Нижегородская область", "60"),
    ("Минск", "Минская область", "22"),
    ("Алматы", "Алматинская область", "05"),
)
_STREETS = (
    "Ploshad Mira",
    "Market Street",
    "Lindenallee",
    "Rua das Flores",
    "улица Садовая",
    "проспект Мира",
    "Набережная",
)
_GOODS = (
    ("Mascaras", "Vivienne Sample", 200, 900),
    ("Canvas shoes", "Nordlicht", 1900, 6900),
    ("Phone case", "Casework", 150, 1200),
    ("Running shirt", "Tempo & Co", 700, 2900),
    ("Coffee beans, 1 kg", "Dark Harbour", 900, 2400),
    ("Кружка керамическая", "Глина", 250, 1500),
    ("Свитер шерстяной", "Северный ветер", 2100, 7900),
    ("Настольная лампа", "Светлячок", 1200, 5400),
    ("Книга рецептов", "Полка", 350, 1800),
    ("Детский конструктор", "Кубик", 800, 4700),
)
_SIZES = "0", "S", "M", "L", "XL", "38", "42", "44-46"
_CURRENCIES = "USD", "EUR", "RUB", "ILS"
_BANKS = "alpha", "beta", "gamma", "delta"
_SERVICES = "meest", "courier", "pickup", "post"
_LOCALES = "en", "ru"
_SUFFIXES = "", "a", "7b", "4c1", "test", "d09e2", "ttjr67"
_LINES = (1,) * 9 + (2,) * 5 + (3,) * 3 + (4,) * 2 + (5,)
_START = datetime(2025, 1, 1, tzinfo=UTC)
_UIDS = 16**19
_STRIDE = 0x5851F42D4C957F2D7A1
"""Odd, so that its multiples visit every one of the `_UIDS` numbers before one comes back."""


def samples(count: int, seed: int) -> Iterator[bytes]:
    """`count` orders of 1 to 5 items, each as canonical JSON on one line (no line end), about 1.1 KB on average.

    The `order_uid`s of a run are distinct; amounts add up.
    """
    draw = Random(seed).random  # noqa: S311 - test data, guards nothing
    uid = _below(draw, _UIDS)
    for number in range(count):
        uid = (uid + _STRIDE) % _UIDS
        yield _order(draw, f"{uid:019x}{_pick(draw, _SUFFIXES)}", number).encode()


def _order(draw: Draw, uid: str, number: int) -> str:
    created = _START + timedelta(seconds=13 * number + _below(draw, 13))
    track = f"WBILM{_below(draw, 10**9):09d}"
    lines = [_item(draw, track) for _ in range(_pick(draw, _LINES))]
    goods = sum(total for _, total in lines)
    return (
        f'{{"order_uid":"{uid}","track_number":"{track}","entry":"WBIL",'
        f'"delivery":{_delivery(draw)},"payment":{_payment(draw, uid, int(created.timestamp()), goods)},'
        f'"items":[{",".join(text for text, _ in lines)}],'
        f'"locale":"{_pick(draw, _LOCALES)}","internal_signature":"","customer_id":"c{_below(draw, 10**6):06d}",'
        f'"delivery_service":"{_pick(draw, _SERVICES)}","shardkey":"{_below(draw, 10)}","sm_id":{_below(draw, 100)},'
        f'"date_created":"{created.isoformat()[:19]}Z","oof_shard":"{_below(draw, 2) + 1}"}}'
    )


def _delivery(draw: Draw) -> str:
    name, mailbox = _pick(draw, _PEOPLE)
    city, region, area = _pick(draw, _PLACES)
    return (
        f'{{"name":"{name}","phone":"+972000{_below(draw, 10**4):04d}","zip":"{area}{_below(draw, 10**4):04d}",'
        f'"city":"{city}","address":"{_pick(draw, _STREETS)} {_below(draw, 150) + 1}","region":"{region}",'
        f'"email":"{mailbox}@example.com"}}'
    )


def _payment(draw: Draw, uid: str, paid_at: int, goods: int) -> str:
    """`paid_at` is in seconds since the epoch."""
    delivery = 50 * _below(draw, 40)
    fee = _below(draw, 300) if draw() < 0.1 else 0  # noqa: PLR2004 - one order in ten pays a custom fee
    return (
        f'{{"transaction":"{uid}","request_id":"","currency":"{_pick(draw, _CURRENCIES)}","provider":"wbpay",'
        f'"amount":{goods + delivery + fee},"payment_dt":{paid_at},"bank":"{_pick(draw, _BANKS)}",'
        f'"delivery_cost":{delivery},"goods_total":{goods},"custom_fee":{fee}}}'
    )


def _item(draw: Draw, track: str) -> tuple[str, int]:
    """One line as JSON, and its total price."""
    name, brand, least, most = _pick(draw, _GOODS)
    price = least + _below(draw, most - least)
    sale = 5 * _below(draw, 15)
    total = price * (100 - sale) // 100
    text = (
        f'{{"chrt_id":{1_000_000 + _below(draw, 9_000_000)},"track_number":"{track}","price":{price},'
        f'"rid":"{_below(draw, 16**13):013x}test","name":"{name}","sale":{sale},"size":"{_pick(draw, _SIZES)}",'
        f'"total_price":{total},"nm_id":{1_000_000 + _below(draw, 9_000_000)},"brand":"{brand}","status":202}}'
    )
    return text, total


def _below(draw: Draw, most: int) -> int:
    return int(draw() * most)


def _pick(draw: Draw, things: Sequence[T]) -> T:
    return things[int(draw() * len(things))]
