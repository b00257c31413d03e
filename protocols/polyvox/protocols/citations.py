"""What a text of an answer cites, whatever protocol it comes from.

Messages cites block by block: each cited span is a text block of its own, with the citations in it.
OpenAI's protocols annotate a longer text with offsets. So a Messages citation becomes an annotation
of the whole text of its part. The other way there is none: what Messages calls a citation of the
web has an ``encrypted_index`` that only its own provider can write.
"""

from polyvox.protocols.neutral import Citation, neutral_of
from polyvox.workflows.conversation import Text


def citations_of(part: Text) -> list[Citation]:
    """Return what ``part`` cites; what is not understood is left out."""
    if part.wire is None:
        return []
    found = neutral_of(part.wire).citations(part.wire.json, len(part.text))
    return [citation for citation in found if citation is not None]
