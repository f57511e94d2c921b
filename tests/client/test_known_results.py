from __future__ import annotations

from parsegate.client.known_results import KnownResults

FILE = ("dags", "a.py")


def test_a_file_of_which_nothing_is_known_is_unknown_until_a_result_was_accepted():
    known = KnownResults()
    assert known.is_unknown(FILE)
    assert not known.is_same(FILE, "f1")
    known.accepted(FILE, "f1")
    assert not known.is_unknown(FILE)


def test_what_was_accepted_last_is_the_same_and_nothing_else():
    known = KnownResults()
    known.accepted(FILE, "f1")
    known.accepted(("dags", "b.py"), "f2")
    assert [known.is_same(FILE, fingerprint) for fingerprint in ("f1", "f2")] == [True, False]
    known.accepted(FILE, "f2")
    assert [known.is_same(FILE, fingerprint) for fingerprint in ("f1", "f2")] == [False, True]


def test_what_the_gateway_would_not_recognise_is_neither_the_same_nor_unknown():
    known = KnownResults()
    known.accepted(FILE, "f1")
    known.unrecognizable(FILE)
    assert not known.is_same(FILE, "f1")
    assert not known.is_unknown(FILE)


def test_a_file_that_is_gone_is_forgotten_in_its_bundle_alone():
    known = KnownResults()
    for file in (FILE, ("dags", "b.py"), ("others", "a.py")):
        known.accepted(file, "f1")
    known.keep_only("dags", ["b.py"])
    known.keep_only("unknown", [])
    assert known.is_unknown(FILE)
    assert known.is_same(("dags", "b.py"), "f1")
    assert known.is_same(("others", "a.py"), "f1")
