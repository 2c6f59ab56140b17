"""The results of searches, by their records alone."""

from adnn_optuna import _attributes as stored
from adnn_optuna.engine.records import ControlRecord, FunctionRecord, SearchRecord
from adnn_optuna.results.function_search import FunctionSearch
from adnn_optuna.results.search import ControlSearch, NetworkSearch, StudyResult, parts_of


def stored_result(record: SearchRecord) -> StudyResult:
    """Return the result of a search, by its record alone."""
    kind: type[StudyResult] = StudyResult
    if isinstance(record, FunctionRecord):
        kind = FunctionSearch
    elif isinstance(record, ControlRecord):
        kind = ControlSearch
    elif stored.CONFIG in record.attrs:
        kind = NetworkSearch
    return kind(**parts_of(record))
