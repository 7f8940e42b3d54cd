"""Private text: committed to at genesis, drawn from, and disclosed document by document."""

import sysconfig
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from actors.private import private_hashes, private_root
from cluster.config import load_network
from cluster.disclosure import (
    DisclosedDocument,
    Disclosure,
    check_disclosure,
    disclose,
    read_disclosure,
    write_disclosure,
)
from cluster.errors import ClusterError, ConfigurationError
from cluster.founding import check_text, found
from cluster.home import Home
from ledger.trust.merkle import compute_root, find_way
from models.text.corpus import Corpus
from models.text.data import Data
from models.text.prepare import prepare_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """One package is public, another private."""
    library = Path(sysconfig.get_path("stdlib"))
    data = Data(paths=(str(library / "asyncio"),), private=(str(library / "encodings"),))
    return prepare_corpus(data, tmp_path_factory.mktemp("text") / "text", window_bytes=65)


def test_the_root_is_of_the_documents_whatever_their_order(corpus: Corpus) -> None:
    hashes = private_hashes(corpus)
    assert hashes == sorted(hashes)
    assert len(hashes) == len(corpus.held_out)
    assert private_root(corpus) == compute_root(hashes)


def test_the_text_stays_what_the_genesis_commits_to(corpus: Corpus, tiny_toml: Path, tmp_path: Path) -> None:
    root = private_root(corpus)
    private = found(load_network(tiny_toml), Home(tmp_path / "private"), root)
    public = found(load_network(tiny_toml), Home(tmp_path / "public"))
    assert private.private_text == root
    assert private.hash != public.hash
    check_text(private, root)
    check_text(public, None)
    for genesis, other in ((private, None), (private, bytes(32)), (public, root)):
        with pytest.raises(ConfigurationError) as caught:
            check_text(genesis, other)
        assert caught.value.field == "data.private"


def test_disclosed_documents_are_checked_with_the_root_alone(corpus: Corpus, tmp_path: Path) -> None:
    root, hashes = private_root(corpus), private_hashes(corpus)
    assert root is not None
    disclosure = _disclosed(corpus, hashes[3:9:2])
    write_disclosure(tmp_path / "epoch", disclosure)
    again = read_disclosure(tmp_path / "epoch")
    assert check_disclosure(again, root) == {hashes[3], hashes[5], hashes[7]}
    first = again.documents[0]
    for wrong in (
        replace(first, text=first.text + b" "),
        replace(first, position=first.position + 1),
        replace(first, position=10**6),
        replace(first, way=first.way[:-1]),
    ):
        with pytest.raises(ClusterError, match="document"):
            check_disclosure(replace(again, documents=(wrong,)), root)
    with pytest.raises(ClusterError):
        check_disclosure(replace(again, count=again.count - 1), root)
    with pytest.raises(ClusterError):
        check_disclosure(again, bytes(32))
    (tmp_path / "epoch").write_bytes(msgspec.msgpack.encode({"genesis": b""}))
    with pytest.raises(ClusterError, match="no disclosure"):
        read_disclosure(tmp_path / "epoch")


def _disclosed(corpus: Corpus, asked: list[bytes]) -> Disclosure:
    hashes = private_hashes(corpus)
    texts = {corpus.document_hash(int(d)): corpus.bytes_of(int(d)).tobytes() for d in corpus.held_out}
    documents = (
        DisclosedDocument(texts[hash_], hashes.index(hash_), find_way(hashes, hashes.index(hash_))) for hash_ in asked
    )
    return Disclosure(bytes(32), 1, len(hashes), tuple(documents))


def test_public_networks_have_nothing_to_disclose(home: Path) -> None:
    with pytest.raises(ClusterError, match="public"):
        disclose(Home(home), 1)
