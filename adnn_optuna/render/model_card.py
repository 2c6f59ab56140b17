"""A document as a model card: Markdown below the metadata that Hugging Face's Hub reads."""

from collections.abc import Mapping
from typing import Any

import yaml

from adnn_optuna.render.document import Document
from adnn_optuna.render.markdown import to_markdown

_USE = """
## Load and use

`result.save("model.keras")` writes the network. Put that file beside this card.

```python
import keras

model = keras.saving.load_model("model.keras")
predictions = model.predict(x)  # probabilities of the classes, or numbers of a regression
```

`x` are inputs as the data set has them, such as `dataset.x_test`. For a new table, they are
`dataset.preprocessing.encoded(table)`.

## Limits

- The scores are for data of the same kind as the test set. Other data may give lower scores.
- The card is of one network. Another training run with the same settings has another score.

## Not checked

- Whether the training data are correct, representative, and licensed for your use.
- Fairness between groups, calibration of probabilities, and robustness to changed inputs.
"""


def to_model_card(document: Document, metadata: Mapping[str, Any]) -> str:
    """Return a document as Markdown, with metadata as YAML in front of it."""
    header = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n{to_markdown(document, level=1)}{_USE}"
