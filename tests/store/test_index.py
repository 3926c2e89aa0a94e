from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreg.errors import ManifestUnknown, PreconditionFailed
from tinyreg.manifest import Manifest
from tinyreg.reference import Digest, Tag
from tinyreg.store.index import Index

from . import APP, MISSING, V1, V2, V3, image


@pytest.fixture
def found() -> Index:
    index = Index(APP)
    index.add(image(), [V2, V1])
    return index


def test_an_added_manifest_is_known_by_its_descriptor_and_tags(found: Index) -> None:
    assert found.known(image().digest) == image().descriptor
    assert found.tags() == found.tags_of(image().digest) == [V1, V2]
    assert found.tags_of(MISSING) == []


def test_what_is_unknown_names_the_repository_and_itself(found: Index) -> None:
    with pytest.raises(ManifestUnknown, match=f"{MISSING} is not known in team/app") as caught:
        found.known(MISSING)
    assert caught.value.detail == {"digest": MISSING}
    with pytest.raises(ManifestUnknown, match="tag v3 is not known in team/app") as caught:
        found.resolve(V3)
    assert caught.value.detail == {"tag": V3}


def test_a_manifest_unknown_cannot_be_removed_and_nothing_changes(found: Index) -> None:
    with pytest.raises(ManifestUnknown):
        found.remove(MISSING)
    assert found.tags() == [V1, V2]


def test_nothing_expected_is_always_met_and_each_tag_has_to_meet_it(found: Index) -> None:
    found.expect([V1, V3], None)
    found.expect([V1, V2], [image().digest])
    found.expect([], [])
    with pytest.raises(PreconditionFailed):
        found.expect([V1, V3], [image().digest])


def test_a_lie_refers_to_nothing(found: Index) -> None:
    found.add(Manifest(b"[]", MISSING, image().media_type), [V3])
    assert found.resolve(V3) == MISSING
    assert list(found.referrers(image().digest)) == []


def test_a_list_of_referrers_is_the_caller_s_own(found: Index) -> None:
    referrer = image("one", image().descriptor)
    found.add(referrer)
    before = found.referrers(image().digest)
    found.remove(referrer.digest)
    assert list(before) == [referrer.as_referrer]


TAGS = [Tag.parse(text) for text in "abcd"]
MANIFESTS = [image(text) for text in "123"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(MANIFESTS), st.sets(st.sampled_from(TAGS))),
        st.tuples(st.just("remove"), st.sampled_from(MANIFESTS), st.just(set())),
        st.tuples(st.just("untag"), st.just(MANIFESTS[0]), st.sets(st.sampled_from(TAGS), min_size=1, max_size=1)),
    ),
    max_size=12,
)


@given(STEPS)
def test_an_index_does_what_two_plain_dictionaries_do(steps: list[tuple[str, Manifest, set[Tag]]]) -> None:
    index, known, named = Index(APP), set[Digest](), dict[Tag, Digest]()
    for step, manifest, tags in steps:
        if step == "add":
            index.add(manifest, tags)
            known.add(manifest.digest)
            named.update((tag, manifest.digest) for tag in tags)
        elif step == "remove" and manifest.digest in known:
            index.remove(manifest.digest)
            known.remove(manifest.digest)
            named = {tag: digest for tag, digest in named.items() if digest != manifest.digest}
        elif step == "untag" and (tag := next(iter(tags))) in named:
            index.untag(tag)
            del named[tag]
        assert set(index.manifests) == known
        assert {tag: index.resolve(tag) for tag in index.tags()} == named
        assert index.tags() == sorted(named)
        for each in MANIFESTS:
            assert index.tags_of(each.digest) == sorted(tag for tag in named if named[tag] == each.digest)
