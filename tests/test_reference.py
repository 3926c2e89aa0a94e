from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreg.errors import DigestInvalid, NameInvalid, RegistryError, TagInvalid
from tinyreg.reference import NAME_LENGTH, Digest, Name, Tag, hasher, parse_reference

HEX = "0123456789abcdef" * 4
EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

GOOD_NAMES = {
    "one letter": "a",
    "digits": "007",
    "segments": "a/b/c/d/e",
    "separators": "a.b_c__d-e--f---g",
    "the routes' own words": "blobs/manifests/tags/uploads/referrers",
    "longest": "a" * NAME_LENGTH,
}
BAD_NAMES = {  # SPEC A1, A2
    "empty": "",
    "upper case": "Team/app",
    "trailing newline": "team/app\n",
    "leading newline": "\nteam",
    "dot dot": "..",
    "dot dot inside": "a/../b",
    "dots": "a..b",
    "dot at the front": ".a",
    "dot at the end": "a.",
    "three underscores": "a___b",
    "underscore at the front": "_catalog",
    "reserved segment": "a/_oci",
    "dash at the end": "a-",
    "mixed separators": "a.-b",
    "slash at the front": "/a",
    "slash at the end": "a/",
    "two slashes": "a//b",
    "nul": "a\0b",
    "space": "a b",
    "backslash": "a\\b",
    "percent": "%2e%2e",
    "colon": "a:b",
    "not ascii": "ä",
    "a digit that is not ascii": "a٣",
    "over-long": "a" * (NAME_LENGTH + 1),
}
GOOD_TAGS = {"short": "a", "underscore": "_", "all of it": "_aZ9._-", "longest": "v" * 128}
BAD_TAGS = {  # SPEC A3
    "empty": "",
    "over-long": "v" * 129,
    "dot at the front": ".a",
    "dot dot": "..",
    "dash at the front": "-a",
    "slash": "a/b",
    "trailing newline": "latest\n",
    "nul": "latest\0",
    "not ascii": "é",
    "plus": "1+2",
}
BAD_DIGESTS = {  # SPEC A4, A5
    "empty": "",
    "no colon": "sha256",
    "no hash": "sha256:",
    "no algorithm": f":{HEX}",
    "too short": f"sha256:{HEX[:-1]}",
    "too long": f"sha256:{HEX}0",
    "upper-case hex": f"sha256:{HEX.upper()}",
    "upper-case algorithm": f"SHA256:{HEX}",
    "no hex": "sha256:" + "g" * 64,
    "trailing newline": f"sha256:{HEX}\n",
    "leading blank": f" sha256:{HEX}",
    "nul": f"sha256:{HEX[:-1]}\0",
    "path": "sha256:../../../../etc/passwd",
    "sha512 of sha256's length": f"sha512:{HEX}",
    "sha256 of sha512's length": f"sha256:{HEX}{HEX}",
    "two colons": f"sha256:sha256:{HEX}",
}


@pytest.mark.parametrize("text", GOOD_NAMES.values(), ids=GOOD_NAMES)
def test_a_name_of_the_grammar_is_itself(text: str) -> None:
    assert Name.parse(text) == text
    assert type(Name.parse(text)) is Name


@pytest.mark.parametrize("text", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_name_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(NameInvalid):
        Name.parse(text)


@pytest.mark.parametrize("text", GOOD_TAGS.values(), ids=GOOD_TAGS)
def test_a_tag_of_the_grammar_is_itself(text: str) -> None:
    assert Tag.parse(text) == text
    assert type(Tag.parse(text)) is Tag


@pytest.mark.parametrize("text", BAD_TAGS.values(), ids=BAD_TAGS)
def test_a_tag_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(TagInvalid):
        Tag.parse(text)


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha512:{HEX}{HEX}"], ids=["sha256", "sha512"])
def test_a_digest_of_the_grammar_is_itself_and_knows_its_parts(text: str) -> None:
    digest = Digest.parse(text)
    assert type(digest) is Digest
    assert f"{digest.algorithm}:{digest.encoded}" == digest == text


@pytest.mark.parametrize("text", BAD_DIGESTS.values(), ids=BAD_DIGESTS)
def test_a_malformed_digest_is_refused(text: str) -> None:
    with pytest.raises(DigestInvalid, match=r"^invalid digest "):
        Digest.parse(text)


@pytest.mark.parametrize("text", [f"blake3:{HEX}", "md5:d41d8", "sha256+b64u:LCa0a2j_xo=", f"sha384:{HEX}"])
def test_a_well_formed_digest_of_another_algorithm_is_refused_as_unsupported(text: str) -> None:
    with pytest.raises(DigestInvalid, match=r"^unsupported digest algorithm .*sha256 and sha512"):
        Digest.parse(text)


@pytest.mark.parametrize("parse", [Name.parse, Tag.parse, Digest.parse], ids=["name", "tag", "digest"])
def test_a_refusal_shows_what_came_printable_and_short(parse: Callable[[str], object]) -> None:
    with pytest.raises(RegistryError) as caught:
        parse("é\n" * 5_000_000)
    assert len(caught.value.message) < 1000
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()


def test_a_hostile_name_is_refused_without_backtracking() -> None:
    with pytest.raises(NameInvalid):
        Name.parse("a-" * (NAME_LENGTH // 2) + "!")


def test_a_reference_with_a_colon_is_a_digest_and_else_a_tag() -> None:  # A3
    assert type(parse_reference(EMPTY)) is Digest
    assert type(parse_reference("latest")) is Tag
    assert type(parse_reference(HEX)) is Tag
    with pytest.raises(DigestInvalid):
        parse_reference("a:b")
    with pytest.raises(TagInvalid):
        parse_reference("")


def test_the_digest_of_nothing_is_the_one_everybody_knows() -> None:  # D9
    assert Digest.of(b"") == EMPTY


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha384", "blake3", "SHA256", "", "shake_128"])
def test_a_hash_that_makes_no_digests_is_refused(algorithm: str) -> None:
    with pytest.raises(DigestInvalid, match="unsupported digest algorithm"):
        hasher(algorithm)
    with pytest.raises(DigestInvalid):
        Digest.of(b"", algorithm)


@pytest.mark.parametrize(
    ("digest", "tag"),
    [(f"sha256:{HEX}", f"sha256-{HEX}"), (f"sha512:{HEX}{HEX}", f"sha512-{HEX}")],
    ids=["sha256", "sha512 is cut"],
)
def test_the_fallback_tag_is_the_spec_s(digest: str, tag: str) -> None:  # G7
    assert Digest.parse(digest).fallback_tag == tag
    assert Tag.parse(Digest.parse(digest).fallback_tag) == tag


@given(
    st.from_regex(
        re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"), fullmatch=True
    )
)
def test_every_name_of_the_spec_s_own_pattern_is_taken(text: str) -> None:
    if len(text) <= NAME_LENGTH:
        assert Name.parse(text) == text
    else:
        with pytest.raises(NameInvalid):
            Name.parse(text)


@given(st.text("ab0._-/A\n\0", max_size=12))
def test_a_name_is_taken_exactly_where_the_spec_s_pattern_matches(text: str) -> None:
    segment = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
    if re.match(rf"\A{segment}(\/{segment})*\Z", text):
        assert Name.parse(text) == text
    else:
        with pytest.raises(NameInvalid):
            Name.parse(text)


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_a_computed_digest_parses_back_to_itself(data: bytes, algorithm: str) -> None:
    digest = Digest.of(memoryview(data), algorithm)
    assert Digest.parse(str(digest)) == digest
    assert digest.encoded == hashlib.new(algorithm, data).hexdigest()
    assert digest.algorithm == algorithm


@given(st.binary(), st.binary())
def test_a_hash_fed_in_pieces_ends_in_the_digest_of_the_whole(first: bytes, second: bytes) -> None:
    state = hasher("sha512", first)
    state.update(second)
    assert Digest.finish(state) == Digest.of(first + second, "sha512")
