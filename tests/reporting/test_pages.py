"""Pages of comparisons of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shown_pages import text_of

from adnn_optuna.api.compare_models import ModelComparison
from adnn_optuna.reporting import model_comparisons

if TYPE_CHECKING:
    from pathlib import Path


class TestRegression:
    """R² has no unit: it is no percentage, and no example is right."""

    WRONG = ("images", "accuracy", "percentage points", " pp", "examples right", "[%]")

    def test_models_tell_r2(self, tmp_path: Path) -> None:
        known = {(i, seed): 0.8 + i / 10 for i in range(2) for seed in range(6)}
        settings = ("models", ("a", "b"), tuple(range(6)), False, 0.001, ("split",), (100, 50))
        models = ModelComparison(known, *settings, 100, 50, score="test R²")
        models.report(tmp_path / "models.html")
        shown = text_of((tmp_path / "models.html").read_text(encoding="utf-8"))
        assert "b has the best mean test R², 0.9000 over 6 seeds" in shown
        assert model_comparisons.caveat(models) in shown
        for text in (shown, str(models)):
            assert "+0.1000" in text
            for wrong in (*self.WRONG, "80.00"):
                assert wrong not in text
        # The best one comes first.
        boxes = [trace for trace in models.plot().data if trace.type == "box"]
        assert [max(box.x) for box in boxes] == [0.9, 0.8]
        assert boxes[0].hovertext[5] == "b, seed 5: 0.9000"
