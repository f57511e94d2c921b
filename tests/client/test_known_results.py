from __future__ import annotations

from parsegate.client.known_results import KnownResults

FILE = ("dags", "a.py")


def test_a_file_of_which_nothing_is_known_may_be_stored():
    assert KnownResults().may_be_stored(FILE, "f1")


def test_what_was_accepted_last_may_be_stored_and_nothing_else():
    known = KnownResults()
    known.accepted(FILE, "f1")
    known.accepted(("dags", "b.py"), "f2")
    assert [known.may_be_stored(FILE, fingerprint) for fingerprint in ("f1", "f2")] == [True, False]
    known.accepted(FILE, "f2")
    assert [known.may_be_stored(FILE, fingerprint) for fingerprint in ("f1", "f2")] == [False, True]


def test_what_the_gateway_would_not_recognise_is_not_stored():
    known = KnownResults()
    known.accepted(FILE, "f1")
    known.unrecognizable(FILE)
    assert not known.may_be_stored(FILE, "f1")


def test_a_file_that_is_gone_is_forgotten_in_its_bundle_alone():
    known = KnownResults()
    for file in (FILE, ("dags", "b.py"), ("others", "a.py")):
        known.accepted(file, "f1")
    known.keep_only("dags", ["b.py"])
    known.keep_only("unknown", [])
    assert known.may_be_stored(FILE, "f2")
    assert not known.may_be_stored(("dags", "b.py"), "f2")
    assert not known.may_be_stored(("others", "a.py"), "f2")
