"""One module for each kind of result: its numbers, its sentences and its document."""
