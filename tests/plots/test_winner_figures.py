"""Figures of a search's winner."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest
from stored_studies import store_study

from adnn_optuna.engine.records import read_record
from adnn_optuna.plots._comparison import png
from adnn_optuna.plots._places import plot_places


@pytest.mark.parametrize("colors", [(), (3,)])
def test_png_holds_the_pixels(colors: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).random((4, 5, *colors))
    kind, _, text = png(pixels).partition(",")
    assert kind == "data:image/png;base64"
    file = base64.b64decode(text)
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(file):
        [size] = struct.unpack(">I", file[at : at + 4])
        name, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + size]
        [checksum] = struct.unpack(">I", file[at + 8 + size : at + 12 + size])
        assert checksum == zlib.crc32(name + data)
        chunks[name], at = data, at + 12 + size
    assert chunks[b"IHDR"] == struct.pack(">2I5B", 5, 4, 8, 2 if colors else 0, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(4, -1)
    assert not rows[:, 0].any()  # No row is filtered.
    np.testing.assert_allclose(rows[:, 1:].reshape(pixels.shape) / 255, pixels, atol=1 / 500)


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_best_trial_has_the_ring_and_the_end_of_the_scale(metric: str) -> None:
    record = read_record(store_study("s", metric=metric))
    assert record.best is not None
    figure = plot_places(record)
    trials, ring = figure.data
    i = record.best.number
    assert (ring.x[0], ring.y[0]) == (trials.x[i], trials.y[i])
    assert trials.x[i] == record.best.params["bias_offset_0"]
    scale = figure.layout.coloraxis
    end = scale.cmin if metric == "val_loss" else scale.cmax
    assert end == trials.marker.color[i]
    assert scale.reversescale == (metric == "val_loss")
    assert trials.hovertext[i].startswith(f"seed 0, trial {i}: ")
