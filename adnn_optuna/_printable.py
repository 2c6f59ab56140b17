"""Texts of other persons: names, labels and messages, as they are printed."""

import unicodedata

# Unicode's categories of characters that a terminal obeys, or that hide or reorder text,
# halves of characters, and ends of lines and paragraphs.
_ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str, keep: str = "") -> str:
    """Return another person's text with its control and format characters escaped.

    No format character is kept, so an emoji that is joined by U+200D is shown as its parts.
    """
    if text.isprintable():  # Most texts are, and no character that is escaped is.
        return text
    escaped = {c for c in text if unicodedata.category(c) in _ESCAPED} - set(keep)
    return "".join(ascii(c)[1:-1] if c in escaped else c for c in text)
