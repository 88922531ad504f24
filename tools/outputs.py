"""What commands write with `--json`: the model that each returns, and its fields with their meaning."""

import ast
import inspect
from collections.abc import Generator, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import click
from msgspec import Raw
from msgspec import inspect as shapes

from orders.commands.output import Output


class Form(NamedTuple):
    """What a command writes: one value of a model, or a line for each."""

    model: Any
    is_lines: bool

    @property
    def in_words(self) -> str:
        if self.is_lines:
            return "one object per line"
        return "one array of objects" if get_origin(self.model) is list else "one object"

    @property
    def about(self) -> str:
        """What the docstring of the model says."""
        (item,) = get_args(self.model) or (self.model,)
        return inspect.cleandoc(item.__doc__)


class Field(NamedTuple):
    """A field by its path, such as `postgres.dsn` or `partitions[].lag`."""

    path: str
    kind: str
    meaning: str


def forms_of(command: click.Command) -> list[Form]:
    """What a command writes with `--json`; empty where it has no such option, or writes what HTTP returned."""
    callback = inspect.unwrap(command.callback) if command.callback else None
    if callback is None or not any("--json" in each.opts for each in command.params):
        return []
    names = named_for_types(import_module(callback.__module__))
    returned = get_type_hints(callback, vars(import_module(callback.__module__)) | names)["return"]
    if get_origin(returned) is Generator:
        returned = get_args(returned)[0]
    outputs = [returned] if get_origin(returned) is Output else get_args(returned)
    return [form_of(get_args(each)[0]) for each in outputs if get_args(each) != (Raw,)]


def form_of(shape: Any) -> Form:
    return Form(get_args(shape)[0], is_lines=True) if get_origin(shape) is Iterator else Form(shape, is_lines=False)


def named_for_types(module: ModuleType) -> dict[str, Any]:
    """What a module imports for the type checker alone."""
    blocks = (each for each in ast.parse(inspect.getsource(module)).body if isinstance(each, ast.If))
    imports = (each for block in blocks for each in ast.walk(block) if isinstance(each, ast.ImportFrom))
    return {name.name: getattr(import_module(each.module or ""), name.name) for each in imports for name in each.names}


# ---- fields ----


def fields_of(model: Any) -> list[Field]:
    """The fields of a model, each followed by those of the objects in it; what is there twice is described once."""
    return list(_fields(_object_in(shapes.type_info(model)), "", {}))


def _fields(found: shapes.StructType | None, prefix: str, seen: dict[type, str]) -> Iterator[Field]:
    for each in found.fields if found else ():
        shape, meaning = _unwrapped(each.type)
        path, inner = f"{prefix}{each.encode_name}", _object_in(shape)
        known = seen.get(inner.cls) if inner else None
        is_left_out = found is not None and found.cls.__struct_config__.omit_defaults and not each.required
        kind = f"{_kind(shape).removesuffix(' or null')}, or left out" if is_left_out else _kind(shape)
        yield Field(path, kind, f"{meaning}; fields as in `{known}`" if known else meaning)
        if inner and not known:
            seen[inner.cls] = path
            yield from _fields(inner, f"{path}[]." if _is_array(shape) else f"{path}.", seen)


def _unwrapped(shape: shapes.Type) -> tuple[shapes.Type, str]:
    """A type without its description, and that."""
    if isinstance(shape, shapes.Metadata):
        return shape.type, str((shape.extra_json_schema or {}).get("description", ""))
    return shape, ""


def _object_in(shape: shapes.Type) -> shapes.StructType | None:
    """The struct that a value is, may be, or is an array of."""
    if isinstance(shape, shapes.ListType):
        return _object_in(shape.item_type)
    if isinstance(shape, shapes.UnionType):
        return next(filter(None, map(_object_in, shape.types)), None)
    return shape if isinstance(shape, shapes.StructType) else None


def _is_array(shape: shapes.Type) -> bool:
    return isinstance(shape, (shapes.ListType, shapes.VarTupleType))


WORDS: dict[type[shapes.Type], str] = {
    shapes.AnyType: "any",
    shapes.NoneType: "null",
    shapes.BoolType: "true or false",
    shapes.IntType: "integer",
    shapes.FloatType: "number",
    shapes.StrType: "string",
    shapes.BytesType: "string (base64)",
    shapes.DateTimeType: "string (RFC 3339)",
    shapes.StructType: "object",
    shapes.TupleType: "array",
}


def _kind(shape: shapes.Type) -> str:
    """A type in words of JSON."""
    if isinstance(shape, shapes.UnionType):
        return " or ".join(map(_kind, shape.types))
    if isinstance(shape, shapes.LiteralType):
        return " or ".join(f"`{value}`" for value in shape.values)
    if isinstance(shape, (shapes.ListType, shapes.VarTupleType)):
        return f"array of {_many(shape.item_type)}"
    if isinstance(shape, shapes.DictType):
        return f"object of {_many(shape.value_type)}"
    return WORDS[type(shape)]


def _many(shape: shapes.Type) -> str:
    """A type in the plural: strings, arrays of strings."""
    one, of, rest = _kind(_unwrapped(shape)[0]).partition(" of ")
    return f"{one}s{of}{rest}"
