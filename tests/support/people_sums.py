"""Sums over people in queries: a person in two rows is one person, so that such a sum is wrong."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from harvester.catalogue import CATALOGUE
from harvester.catalogue.descriptions import members
from harvester.catalogue.languages import column_label

EVENTS = {"new_user", "cancel_user"}
"""Columns that count people who followed or left: each is an event, and events add up."""

PEOPLE = {
    column.name
    for dataset in CATALOGUE.values()
    for _, column in members(dataset.columns)
    if column.unit == "people"
} - EVENTS
"""Columns of datasets that count people."""

IN_CHINESE = {
    column_label(dataset.name, column.name, "zh")
    for dataset in CATALOGUE.values()
    for column in dataset.columns
    if column.name in PEOPLE
}
"""Headings of these columns in the Chinese views of `harvester sql`."""

OF_VIEWS = re.compile(r"senders|read_user_day_\d+|发送人数|.*日阅读人数")
"""Names of further such columns in the views."""

STOCKS = {"cumulate_user", column_label("user_cumulate", "cumulate_user", "zh")}
DAYS = {"ref_date", "数据日期"}

ADDING = {
    *("sum", "sum_no_overflow", "fsum", "sumkahan", "kahan_sum", "list_sum", "try_sum"),
    *("total", "sumif", "sumwithoverflow", "sumorint", "cumsum", "cum_sum", "sum_horizontal"),
}
"""Functions that add up, in SQL, Polars, pandas and Spark."""

_FILLED_IN = re.compile(r"\{\{.*?\}\}|\{\w+:\w+\}", re.DOTALL)
_LEFT_OUT = re.compile(
    r"\{%.*?%\}|\{#.*?#\}|\bsettings \w+ = \w+|\bcreate database [^;]+;", re.DOTALL
)
_BODY = re.compile(r"\bas\s+(?:table\s+)?(?=\(?\s*(?:with|select|from)\b)", re.IGNORECASE)
_QUERY = re.compile(r"\b(?:with|select)\b", re.IGNORECASE)
_KIND = re.compile(r"\s*(?:--.*\n\s*)*(\w+)")
_STATEMENT = re.compile(r"\s*(--.*\n\s*)*(create|insert|select|with)\b", re.IGNORECASE)
_DATASETS = re.compile("|".join(sorted(CATALOGUE, reverse=True)))


def people_sums(script: str) -> list[str]:
    """Return the names of people that the statements of a script add up.

    Raises duckdb.Error if a statement is no SQL of DuckDB. Backticks count as quotes.
    """
    text = _FILLED_IN.sub(" x ", _LEFT_OUT.sub("", script)).replace("`", '"')
    found: list[str] = []
    for statement in duckdb.extract_statements(text):
        query = _query_of(statement.query)
        if query:
            found += _in_tree(_parsed(query))
    return found


def people_sums_in_python(program: str) -> list[str]:
    """Return the same of a Python program: its calls, and the SQL in its texts."""
    found: list[str] = []
    for node in _walk(ast.parse(program)):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in ADDING:
                found += sorted(filter(is_people, _words(node)))
            case ast.Dict():
                found += _in_dict(node)
            case ast.Constant(value=str(text)) if _STATEMENT.match(text) and "from" in text.lower():
                found += people_sums(text)
    return found


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes, with an x in the place of each value that a text is formatted with."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (each.value if isinstance(each, ast.Constant) else "x" for each in node.values)
            yield ast.Constant("".join(map(str, parts)))
        else:
            yield node
            yield from _walk(node)


def _in_dict(node: ast.Dict) -> Iterator[str]:
    for key, value in zip(node.keys, node.values, strict=True):
        match key, value:
            case ast.Constant(value=str(name)), ast.Constant(value=str(how)):
                if how in ADDING and is_people(name):
                    yield name


def _words(node: ast.AST) -> set[str]:
    """Return the texts and the attributes of a Python expression."""
    inner = [*ast.walk(node)]
    texts = {each.value for each in inner if isinstance(each, ast.Constant)}
    names = {each.attr for each in inner if isinstance(each, ast.Attribute)}
    return {text for text in texts if isinstance(text, str)} | names


def _query_of(statement: str) -> str:
    """Return the query of a statement that makes a view, a table or rows, "" without one."""
    body = _BODY.search(statement)
    kind = _KIND.match(statement)
    if body and kind and kind[1].lower() == "create":
        return statement[body.end() :].strip().removesuffix(";")
    if kind and kind[1].lower() == "comment":
        return ""
    start = _QUERY.search(re.sub(r"--.*", lambda line: " " * len(line[0]), statement))
    return statement[start.start() :] if start else ""


def _parsed(query: str) -> Any:
    [[text]] = duckdb.execute("select json_serialize_sql(?)", [query]).fetchall()
    tree = json.loads(text)
    if tree["error"]:
        raise duckdb.ParserException(f"{tree['error_message']}\n{query}")
    return tree


def _in_tree(tree: Any) -> Iterator[str]:
    aliases = _aliases(tree)
    for select in _nodes(tree):
        if select.get("type") != "SELECT_NODE":
            continue
        for part in ("select_list", "having", "qualify", "modifiers"):
            for call in _nodes(select[part], own=True):
                if call.get("function_name") in ADDING:
                    names = _columns(call["arguments"])
                    found = {name for name in names if name in aliases or is_people(name)}
                    yield from sorted(name for name in found if not _may_add(name, call, select))


def _nodes(tree: Any, *, own: bool = False) -> Iterator[dict[str, Any]]:
    """Yield every object of a tree, with ``own`` only those outside of an inner query."""
    if isinstance(tree, list):
        for each in tree:
            yield from _nodes(each, own=own)
    elif isinstance(tree, dict) and not (own and tree.get("type") == "SELECT_NODE"):
        yield tree
        for each in tree.values():
            yield from _nodes(each, own=own)


def _columns(tree: Any) -> set[str]:
    """Return the columns whose values an expression passes on, so none that it counts."""
    if isinstance(tree, list):
        return set().union(*map(_columns, tree))
    if not isinstance(tree, dict) or tree.get("class") == "COMPARISON":
        return set()
    if str(tree.get("function_name")).startswith("count"):
        return set()
    if tree.get("class") == "COLUMN_REF":
        return {tree["column_names"][-1]}
    return _columns([value for key, value in tree.items() if key not in {"filter", "check"}])


def _aliases(tree: Any) -> set[str]:
    """Return the names that a query gives to people."""
    found: set[str] = set()
    named = [(node["alias"], _columns(node)) for node in _nodes(tree) if _is_named(node)]
    while True:
        more = {
            alias for alias, names in named if any(map(is_people, names)) or names & found
        } - found
        if not more:
            return found
        found |= more


def _is_named(node: dict[str, Any]) -> bool:
    return bool(node.get("alias")) and "class" in node and node["alias"] not in EVENTS


def is_people(name: str) -> bool:
    """Return whether a column of this name counts people who may be in several rows."""
    return name in PEOPLE | IN_CHINESE or OF_VIEWS.fullmatch(name) is not None


def _may_add(name: str, call: dict[str, Any], select: dict[str, Any]) -> bool:
    """Return whether the rows that are added cannot share a person.

    Those are the ranges of one account and period, because each person is in one range, and the
    accounts on one day, because a person follows each of them.
    """
    by = _columns(select["group_expressions"]) | _columns(call.get("partitions", []))
    if select["aggregate_handling"] != "STANDARD_HANDLING":
        by |= {one["column_names"][-1] for one in select["select_list"] if "column_names" in one}
    if name == "msg_user":
        sources = set(_DATASETS.findall(json.dumps(select["from_table"])))
        period = {"ref_date"}
        if sources == {"upstream_msg_dist_month"}:
            period.add("ref_month")
        is_range = sources and all(one.startswith("upstream_msg_dist") for one in sources)
        return bool(is_range and "appid" in by and period & by)
    return name in STOCKS and bool(by & DAYS or _is_one_day(select["where_clause"]))


def _is_one_day(where: Any) -> bool:
    return any(
        node.get("type") == "COMPARE_EQUAL"
        and DAYS & {name for side in ("left", "right") for name in _columns(node[side])}
        for node in _nodes(where, own=True)
    )
