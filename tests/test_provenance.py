import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tcam_cache.provenance import RECORDED_PACKAGES, canonical_json, differences, provenance, sha256_of

plain = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))
settings_of = st.dictionaries(
    st.text("abc", min_size=1), st.integers() | st.dictionaries(st.text("xy"), st.integers())
)


@settings(max_examples=50)
@given(values)
def test_canonical_json_reads_back(value):
    assert json.loads(canonical_json(value)) == value


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=4), plain, max_size=8), st.randoms())
def test_the_order_of_keys_changes_no_hash(value, random):
    keys = random.sample(list(value), len(value))
    assert sha256_of({key: value[key] for key in keys}) == sha256_of(value)


def test_another_value_has_another_hash():
    hashes = [sha256_of(value) for value in ({"n": 1}, {"n": 2}, {"m": 1}, {"n": "1"}, {"n": [1]}, {})]
    assert len(set(hashes)) == len(hashes)


def test_a_hash_is_the_same_in_another_process_and_for_ever():
    value = {"vidéo": ["ü", 1.5], "a": None}
    script = f"from tcam_cache.provenance import sha256_of; print(sha256_of({value!r}))"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    by_hand = hashlib.sha256('{"a":null,"vidéo":["ü",1.5]}'.encode()).hexdigest()
    assert sha256_of(value) == other.stdout.strip() == by_hand


def test_differences_name_every_setting_nested_ones_by_dotted_name():
    ours = {"method": "layercam", "maps": {"size": 28, "dtype": "float16"}, "new": 1}
    theirs = {"method": "cam", "maps": {"size": 7, "dtype": "float16"}, "old": 2}
    assert differences(ours, theirs) == [
        "maps.size: 28, not 7", "method: layercam, not cam", "new: 1, not None", "old: None, not 2",
    ]  # fmt: skip


def test_a_mapping_where_a_value_was_is_a_difference():
    assert differences({"a": {"b": 1}}, {"a": 1}) == ["a: {'b': 1}, not 1"]


def test_an_empty_text_is_shown_as_one():
    assert differences({"a": "steps=2"}, {"a": ""}) == ["a: steps=2, not ''"]


@given(settings_of, settings_of)
def test_there_are_no_differences_exactly_between_equals(ours, theirs):
    assert differences(ours, ours) == []
    assert bool(differences(ours, theirs)) == (ours != theirs)


def test_provenance_says_versions_host_time_command_and_given_facts():
    facts = provenance(threads=3, config={"seed": 0})
    assert json.loads(json.dumps(facts)) == facts
    assert set(facts["packages"]) == set(RECORDED_PACKAGES)
    assert all(facts["packages"].values())
    assert facts["threads"] == 3
    assert facts["config"] == {"seed": 0}
    assert abs(datetime.fromisoformat(facts["date"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert facts["host"]
    assert facts["command"][1:] == sys.argv[1:]


def test_a_package_that_is_not_there_is_recorded_as_absent(monkeypatch):
    monkeypatch.setattr("tcam_cache.provenance.RECORDED_PACKAGES", ("no-such-package-at-all",))
    assert provenance()["packages"] == {"no-such-package-at-all": None}
