"""Detects the language of a text by its script and its most frequent short words."""

import re
from collections import Counter

_SCRIPTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
)

_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the and is are of to in that it for with you what how this my please can should",
        "de": "der die das und ist sind nicht ein eine mit für auf wie was ich bitte kann soll wir",
        "fr": "le la les et est sont une des pas pour avec que qui dans ce vous je mon comment",
        "es": "el la los las y es son una de que no para con por cómo qué mi esto está puedo",
        "it": "il lo la gli e è sono una di che non per con come cosa questo mio della posso",
        "pt": "o os as e é são uma de que não para com por como isto meu minha você posso",
        "nl": "de het een en is zijn niet van voor met dat wat hoe ik mijn deze kan moet wij",
    }.items()
}
LANGUAGES = tuple(sorted([*_WORDS, *(language for language, _ in _SCRIPTS)]))
"""Codes of the languages that can be detected."""

_LEAST_SHARE = 0.25
_LONGEST = 4000


def language_of(text: str) -> str:
    """Return the language's two-letter code, or an empty string if it cannot be determined."""
    text = text[:_LONGEST]
    letters = sum(character.isalpha() for character in text)
    for language, script in _SCRIPTS:
        if letters and len(script.findall(text)) >= _LEAST_SHARE * letters:
            return language
    words = Counter(re.findall(r"[^\W\d_]+", text.lower()))
    scores = {language: sum(words[word] for word in known) for language, known in _WORDS.items()}
    best, score = max(scores.items(), key=lambda pair: pair[1])
    return best if score and list(scores.values()).count(score) == 1 else ""
