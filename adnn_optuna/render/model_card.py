"""A document as a model card: Markdown below the metadata that Hugging Face's Hub reads."""

from collections.abc import Mapping
from typing import Any

import yaml

from adnn_optuna.render.document import Document
from adnn_optuna.render.markdown import to_markdown


def to_model_card(document: Document, metadata: Mapping[str, Any]) -> str:
    """Return a document as Markdown, with metadata as YAML in front of it."""
    header = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n{to_markdown(document, level=1)}"
