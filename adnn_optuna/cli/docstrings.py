"""Read the help of options from the docstrings of functions and classes."""

import inspect
import re


def arguments(documented: object) -> dict[str, str]:
    """Return the first sentence on each argument in a docstring."""
    docstring = f"{inspect.getdoc(documented)}\n"
    section = re.search(r"^Args:\n((?:    .*\n|\n)*)", docstring, re.MULTILINE)
    section_text = ""
    if section:
        section_text = section[1]
    entries = re.findall(r"    (\w+):((?:.*\n(?:     .*\n)*))", section_text)
    return {name: _first_sentence(text) for name, text in entries}


def summary(documented: object) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join(str(inspect.getdoc(documented)).partition("\n\n")[0].split())


def _first_sentence(text: str) -> str:
    """Return the first sentence of an argument's text, without markup."""
    sentence = re.split(r"(?<=\.) ", " ".join(text.split()))[0]
    flag = sentence.removeprefix("Whether ").removeprefix("to ")
    sentence = f"{flag[:1].upper()}{flag[1:]}"
    plain = re.sub(r":\w+:`~?(?:adnn_optuna\.)?([^`]*)`", r"\1", sentence)
    return re.sub(r'``"([^"`]*)"``', r"\1", plain).replace("``", "")
