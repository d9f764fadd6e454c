"""Rules for all code, because aiohttp puts the URL with the token into the text of its errors."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

import aiohttp
import pytest

from harvester.manifest.json_schema import json_schema
from tests.support.import_graph import BY_NAME, MODULES, Module, own_imports

PRINTERS = {"str", "repr", "ascii", "format", "print", "vars"}
LOGGERS = ("debug", "info", "warning", "error", "critical", "exception", "log", "format", "warn")
TELLTALE = {"args", "message", "request_info", "url", "headers", "doc", "__dict__"}
REDACTING = {"cli.output.logs", "cli.output.json_lines", "runs.processes.shard_process"}
"""The modules that may make a log handler: theirs mask."""
OURS = {
    node.name
    for module in MODULES
    for node in ast.walk(module.tree)
    if isinstance(node, ast.ClassDef)
}


def _is_foreign(kind: ast.expr) -> bool:
    """Return whether a caught or annotated type may be an error of aiohttp."""
    for node in ast.walk(kind):
        known: object = None
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "aiohttp":
            known = getattr(aiohttp, node.attr)
        elif isinstance(node, ast.Name) and node.id not in OURS:
            known = getattr(builtins, node.id, None)
        if isinstance(known, type) and issubclass(known, BaseException):
            return True
    return False


def _suspects(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Find the names that may hold a foreign error, each with its scope."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.name:
            if node.type is None or _is_foreign(node.type):
                yield node.name, node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                if argument.annotation is not None and _is_foreign(argument.annotation):
                    yield argument.arg, node


def _shows(node: ast.AST, name: str) -> bool:
    """Return whether a node uses the text of the named error."""

    def is_it(value: ast.AST) -> bool:
        return isinstance(value, ast.Name) and value.id == name

    match node:
        case ast.FormattedValue(value=value):
            return is_it(value)
        case ast.BinOp(op=ast.Mod(), right=right):
            return any(map(is_it, ast.walk(right)))
        case ast.Attribute(value=value, attr=attr):
            return is_it(value) and attr in TELLTALE
        case ast.Raise(cause=ast.expr() as cause):
            return is_it(cause)
        case ast.Call(func=func, args=args):
            callee = ast.unparse(func)
            printing = callee in PRINTERS or callee.rpartition(".")[2] in LOGGERS
            return printing and any(map(is_it, args))
    return False


def shown_in(tree: ast.AST) -> list[int]:
    """Return the lines that use the text of a foreign error."""
    lines = [
        getattr(node, "lineno", 0)
        for name, scope in _suspects(tree)
        for node in ast.walk(scope)
        if _shows(node, name)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            callee = ast.unparse(node.func).rpartition(".")[2]
            keywords = {keyword.arg for keyword in node.keywords}
            if callee in ("exception", "print_exc", "format_exc") or "exc_info" in keywords:
                lines.append(node.lineno)
    return lines


WRITERS_OF_TABLES = {
    f"verbs.lakehouse.{name}" for name in ("formats", "delta", "ducklake", "iceberg")
}
"""They make no call, and show the errors of their own libraries, masked."""


def _may_meet_them() -> list[Module]:
    """Return the transport and every module that calls it, also indirectly."""
    imports = {name: {imported for imported, _, _ in own_imports(name)} for name in BY_NAME}
    meet = {"wechat.transport"}
    while more := {name for name in BY_NAME.keys() - meet if imports[name] & meet}:
        meet |= more
    return [module for module in MODULES if module.name in meet - WRITERS_OF_TABLES]


def test_no_text_of_an_aiohttp_error_is_used() -> None:
    """No code formats, logs, chains or inspects an error of another package."""
    assert not [
        f"{module.file}:{line}" for module in _may_meet_them() for line in shown_in(module.tree)
    ]


def test_the_callers_of_the_transport_are_checked() -> None:
    """The test above covers these modules."""
    assert {
        "wechat.transport",
        "wechat.auth.token_providers",
        "wechat.attempt",
        "engine.pipeline",
        "runs.harvest",
        "cli.commands.run",
    } <= {module.name for module in _may_meet_them()}


@pytest.mark.parametrize(
    "line",
    [
        "log.warning('failed: %s', error)",
        "print(error)",
        "raise OurError(f'failed: {error}')",
        "raise OurError(f'failed: {error!r}')",
        "raise OurError(str(error))",
        "raise OurError('failed: %s' % error)",
        "raise OurError('failed: %s' % (error,))",
        "raise OurError('failed: {}'.format(error))",
        "raise OurError(*error.args)",
        "raise OurError(error.request_info)",
        "raise OurError('failed') from error",
        "log.exception('failed')",
        "log.error('failed', exc_info=True)",
    ],
)
@pytest.mark.parametrize("kind", ["aiohttp.ClientError", "Exception", "(OSError, ValueError)"])
def test_every_use_of_an_error_s_text_is_found(line: str, kind: str) -> None:
    """The check finds each forbidden form."""
    assert shown_in(ast.parse(f"try:\n    pass\nexcept {kind} as error:\n    {line}"))
    if "error" in line:
        assert shown_in(
            ast.parse(f"def tell(error: {kind.strip('()').split(',')[0]}):\n    {line}")
        )


def test_an_error_of_this_package_may_be_shown() -> None:
    """Also allowed are the class name and the errno of a foreign error."""
    assert not shown_in(ast.parse("try:\n    pass\nexcept CallError as error:\n    print(error)"))
    assert not shown_in(
        ast.parse("try:\n    pass\nexcept OSError as error:\n    print(type(error), error.errno)")
    )


def _disables_a_check(node: ast.AST) -> bool:
    """Return whether a node is a way to disable the check of certificates."""
    match node:
        case ast.Attribute(attr=name):
            return name in {"CERT_NONE", "CERT_OPTIONAL", "_create_unverified_context"}
        case ast.Assign() | ast.AnnAssign():
            text = ast.unparse(node)
            return "check_hostname" in text or "verify_mode" in text
        case ast.keyword(arg=name, value=value):
            unchecked = name == "ssl" and ast.unparse(value) == "False"
            return unchecked or name in {"verify_ssl", "fingerprint"}
    return False


def test_no_code_disables_the_check_of_certificates() -> None:
    """The manifest has no key for it either."""
    assert not [
        f"{module.file}: {ast.unparse(node)}"
        for module in MODULES
        for node in ast.walk(module.tree)
        if _disables_a_check(node)
    ]
    assert set(json_schema()["$defs"]["Api"]["properties"]) == {
        "base_url",
        "timeout",
        "proxy",
        "ca_file",
    }


def _bypasses(module: Module) -> Iterator[str]:
    """Yield what a module uses that could print an unmasked text."""
    calls = {
        ast.unparse(node.func).rpartition(".")[2]
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
    }
    if module.name not in REDACTING:
        handlers = {name for name in calls if name.endswith("Handler") or name == "basicConfig"}
        # The one that prints nothing, for harvester itself and for a library that it calls.
        is_silent = module.name in {"__init__", "verbs.lakehouse.iceberg"}
        yield from handlers - ({"NullHandler", "addHandler"} if is_silent else set())
    yield from calls & {"captureWarnings", "print_exception", "print_tb"}
    # Two functions hand their arguments on.
    if module.name not in {"verbs.run", "readers.spark"}:
        yield from calls & {"locals"}
    if "show_locals" in module.text:
        yield "show_locals"
    if module.name != "cli.output.hooks" and "excepthook" in module.text:
        yield "excepthook"


def test_no_output_bypasses_redaction() -> None:
    """Three modules make log handlers, one sets Python's hooks, and none prints variables."""
    assert not {module.file: found for module in MODULES if (found := list(_bypasses(module)))}
