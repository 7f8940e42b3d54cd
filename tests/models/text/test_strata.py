import ast
from pathlib import Path, PurePath

from models.text.strata import CODE, DOCUMENTATION, TABLES, TESTS, divide_standard_file, is_standard_text

MODULE = b'''"""What the module is."""

import sys

TABLE = {
%s}


class Peer:
    """What a peer is."""

    def answer(self): "on its line"
''' % b"".join(b"    %d: 'name %d',\n" % (number, number) for number in range(40))


def divide(path, content):
    return dict(divide_standard_file(PurePath(path), content))


def test_a_module_is_divided_and_nothing_stands_twice():
    parts = divide("peers.py", MODULE)
    assert parts[DOCUMENTATION] == b"What the module is.\n\nWhat a peer is."
    assert parts[TABLES].startswith(b"TABLE = {")
    assert b"What" not in parts[CODE]
    assert b"TABLE" not in parts[CODE]
    assert b'def answer(self): "on its line"' in parts[CODE]


def test_a_module_that_does_not_parse_stays_whole():
    assert divide("old.py", b"print 'hello'\n") == {CODE: b"print 'hello'\n"}


def test_topics_are_documents_of_their_own():
    topics = repr({"if": "The if statement", "for": "The for statement"}).encode()
    parts = list(divide_standard_file(PurePath("pydoc_data/topics.py"), b"topics = " + topics))
    assert parts == [(DOCUMENTATION, b"The if statement"), (DOCUMENTATION, b"The for statement")]


def test_tests_are_told_by_their_folder_and_tables_by_their_kind():
    assert divide("test/test_ast.py", MODULE) == {TESTS: MODULE}
    assert divide("test/decimaltestdata/abs.decTest", b"abs 1") == {TABLES: b"abs 1"}
    assert divide("idlelib/NEWS.txt", b"news") == {DOCUMENTATION: b"news"}
    assert not is_standard_text(PurePath("lib-dynload/_ssl.so"))


def test_dividing_this_very_file_keeps_all_its_code():
    source = Path(__file__).read_bytes()
    parts = divide("test_strata_copy.py", source)
    functions = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    assert all(f"def {name}".encode() in parts[CODE] for name in functions)
