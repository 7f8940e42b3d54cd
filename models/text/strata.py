"""The default corpus: the running interpreter's standard library, divided by what its text is.

Invariants: a module's docstrings become documentation and its long data literals become tables, and both are taken out
of its code, so that no text stands in two strata and none leaks from training into held-out text; a module that does
not parse stays whole.
"""

import ast
import functools
import inspect
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePath

CODE, DOCUMENTATION, TABLES, TESTS = "code", "documentation", "tables", "tests"
TEST_FOLDERS = frozenset({"test", "tests", "idle_test"})
DOCUMENTATION_SUFFIXES = frozenset({".txt", ".rst", ".md", ".html"})
TABLE_SUFFIXES = frozenset({".dectest", ".csv", ".json", ".xml", ".toml"})
# A top-level literal shorter than this reads as code. With 384, Python 3.11 without its tests has 141 tables (99 with
# 1024): enough that the stratum stands by itself once a fifth is held out.
TABLE_BYTES = 384


@functools.cache
def standard_library() -> Path:
    """The folder of the running interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def is_standard_text(path: PurePath) -> bool:
    """Whether a file of the library, by its relative path, is text that belongs into the corpus."""
    suffix = path.suffix.lower()
    return suffix == ".py" or suffix in DOCUMENTATION_SUFFIXES or suffix in TABLE_SUFFIXES


def divide_standard_file(path: PurePath, content: bytes) -> Iterator[tuple[str, bytes]]:
    """The (stratum, text) parts of one library file, given by its relative path."""
    suffix = path.suffix.lower()
    if suffix == ".dectest":
        yield TABLES, content
    elif not TEST_FOLDERS.isdisjoint(path.parts):
        yield TESTS, content
    elif suffix == ".py":
        yield from divide_topics(content) if path.name == "topics.py" else divide_module(content)
    else:
        yield (DOCUMENTATION if suffix in DOCUMENTATION_SUFFIXES else TABLES), content


def divide_module(source: bytes) -> Iterator[tuple[str, bytes]]:
    """A module's docstrings, its long top-level literals, and the code that is left, each as one document."""
    tree = parse_module(source)
    if tree is None:
        yield CODE, source
        return
    lines = source.split(b"\n")
    docstrings = list(find_docstrings(tree, lines))
    tables = [node for node in tree.body if is_table(node, lines)]
    yield DOCUMENTATION, "\n\n".join(inspect.cleandoc(text) for _, text in docstrings).encode("utf-8", "replace")
    yield TABLES, b"\n\n".join(source_of(node, lines) for node in tables)
    taken = {number for node in [*(node for node, _ in docstrings), *tables] for number in lines_of(node)}
    yield CODE, b"\n".join(line for number, line in enumerate(lines) if number not in taken)


def divide_topics(source: bytes) -> Iterator[tuple[str, bytes]]:
    """The language reference as pydoc keeps it: one document per topic."""
    tree = parse_module(source)
    for node in tree.body if tree else []:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            for topic in node.value.values:
                if isinstance(topic, ast.Constant) and isinstance(topic.value, str):
                    yield DOCUMENTATION, topic.value.encode("utf-8", "replace")


def parse_module(source: bytes) -> ast.Module | None:
    """The module's tree, or None where this interpreter cannot parse it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            return None


def find_docstrings(tree: ast.Module, lines: list[bytes]) -> Iterator[tuple[ast.Expr, str]]:
    """Docstrings that have their lines to themselves, in the order of the tree, with their text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
                and not lines[first.lineno - 1][: first.col_offset].strip()
                and not lines[(first.end_lineno or first.lineno) - 1][first.end_col_offset or 0 :].strip()
            ):
                yield first, first.value.value


def is_table(node: ast.stmt, lines: list[bytes]) -> bool:
    """Whether a top-level statement assigns a long literal."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or len(source_of(node, lines)) < TABLE_BYTES:
        return False
    return isinstance(node.value, ast.Dict | ast.List | ast.Tuple | ast.Set | ast.Constant)


def lines_of(node: ast.stmt) -> range:
    """The zero-based numbers of the lines that a statement occupies."""
    return range(node.lineno - 1, node.end_lineno or node.lineno)


def source_of(node: ast.stmt, lines: list[bytes]) -> bytes:
    """The source lines of a statement."""
    return b"\n".join(lines[number] for number in lines_of(node))
