"""Small networks of common kinds, for images of 28 × 28 pixels and ten classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

if TYPE_CHECKING:
    from collections.abc import Callable


def _sequential(*hidden: layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((28, 28)), *hidden, layers.Dense(10, name="output")])


def _image() -> layers.Layer:
    return layers.Reshape((28, 28, 1))


def convolutions() -> keras.Model:
    return _sequential(
        _image(),
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
    )


def strided_convolutions() -> keras.Model:
    return _sequential(
        _image(),
        layers.Conv2D(16, 3, strides=2, activation="relu"),
        layers.Conv2D(32, 3, strides=2, activation="relu"),
        layers.Flatten(),
    )


def separable_convolutions() -> keras.Model:
    return _sequential(
        _image(),
        layers.SeparableConv2D(16, 3, activation="relu"),
        layers.AveragePooling2D(2),
        layers.SeparableConv2D(32, 3, activation="relu"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
    )


def convolution_1d() -> keras.Model:
    return _sequential(layers.Conv1D(32, 3, activation="relu"), layers.GlobalMaxPooling1D())


def dense() -> keras.Model:
    return _sequential(layers.Flatten(), layers.Dense(64, activation="relu"))


def dense_dropout() -> keras.Model:
    return _sequential(layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dropout(0.3))


def dense_batch_norm() -> keras.Model:
    return _sequential(
        layers.Flatten(), layers.Dense(64), layers.BatchNormalization(), layers.ReLU()
    )


def dense_batch_norm_dropout() -> keras.Model:
    return _sequential(
        *(layers.Flatten(), layers.Dense(64), layers.BatchNormalization(), layers.ReLU()),
        layers.Dropout(0.3),
    )


def gru() -> keras.Model:
    return _sequential(layers.GRU(32))


def lstm() -> keras.Model:
    return _sequential(layers.LSTM(32))


def attention() -> keras.Model:
    inputs = keras.Input((28, 28))
    x = layers.Dense(32)(inputs)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 16)(x, x))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(10, name="output")(x))


def embedding() -> keras.Model:
    """Return a network that treats each pixel as one of 16 words, its grey level."""
    inputs = keras.Input((28, 28))
    words = keras.ops.cast(layers.Flatten()(inputs) * 15, "int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(16, 16)(words))
    x = layers.Dense(32, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(10, name="output")(x))


def residual() -> keras.Model:
    inputs = keras.Input((28, 28))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(_image()(inputs))
    for _ in range(2):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        x += layers.Conv2D(8, 3, padding="same", use_bias=False)(y)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(inputs, layers.Dense(10, name="output")(x))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "two Conv2D, max pooling": convolutions,
    "two strided Conv2D": strided_convolutions,
    "two SeparableConv2D, average pooling": separable_convolutions,
    "Conv1D, global max pooling": convolution_1d,
    "dense": dense,
    "dense, Dropout": dense_dropout,
    "dense, BatchNorm": dense_batch_norm,
    "dense, BatchNorm, Dropout": dense_batch_norm_dropout,
    "GRU": gru,
    "LSTM": lstm,
    "attention": attention,
    "embedding, pooling": embedding,
    "residual, BatchNorm": residual,
}
