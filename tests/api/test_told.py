"""Facts as a notebook shows them: what they print, as HTML in which nothing is executed."""

from __future__ import annotations

import html5lib
import keras
import numpy as np

import adnn_optuna as adnn

EVIL = "<script>alert(1)</script>"


def test_is_what_it_prints_as_html() -> None:
    values = {"trained_weights_sha256": "", "test_accuracy": 0.5}
    study = {"name": EVIL, "sampler": "annealing", "best_trial": 1, "trials": 2}
    content = {
        "study": study,
        "objective": {"dataset": {"name": "digits"}},
        "split": {"test": 16},
        "baseline": values,
        "winner": {"params": {}, **values},
    }
    layers = [keras.Input((4,)), keras.layers.Dense(2)]
    told = (
        adnn.Contract(content, {"kernel": np.zeros(2)}),
        adnn.Verdict("breached", (EVIL,), gain=0.1),
        adnn.audit_randomness(keras.Sequential(layers)),
    )
    for one in told:
        parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
        fragment = parser.parseFragment(one._repr_html_())
        assert not [*fragment.iter("script")]
        assert "".join(fragment.itertext()) == str(one)
        assert " at 0x" not in repr(one)
    assert repr(told[0]) == f"Contract(content={content!r})"
    assert repr(told[1]).startswith("Verdict(status='breached', reasons=('<script>alert(1)<")
