"""Figures of a search's winner."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest

from adnn_optuna.plots._comparison import png


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
