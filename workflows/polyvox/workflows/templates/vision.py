"""Gives a text model access to images: another model describes them and answers questions.

The text model gets a reference in place of each image. The reference consists of the digest of the
image and its first description, which is stored permanently. It is the same in every request, so
the provider's prompt cache matches, and an image is described only once.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from polyvox.workflows import (
    File,
    Image,
    Model,
    ModelError,
    MountedTool,
    Params,
    Reply,
    Run,
    Source,
    Text,
    Tool,
    ToolCall,
    flow,
)
from polyvox.workflows.conversation import Conversation, Json, Message, Part
from polyvox.workflows.media import is_pdf, media_digest, media_in, with_media_replaced

DESCRIPTION_PROMPT = (
    "Describe this image for somebody who cannot see it and has to work with it. First say in one "
    "sentence what it is. Then give every text in it word for word, the layout, and all values, "
    "names, states, errors and colours that could matter. Do not guess what cannot be seen."
)

QUESTION_PROMPT = (
    "Somebody who cannot see this image asks about it. Answer from what can be seen, exactly and "
    "shortly. If it cannot be seen, say so.\n\nQuestion: {question}"
)

TOOL_DESCRIPTION = (
    "Looks at an image of this conversation, or at a region of it, and answers a question about "
    "it. Images stand in the conversation as [image ID: description]. Use it when the description "
    "does not tell what you need. A region is looked at enlarged: use one for small text and "
    "details."
)


class VisionParams(Params):
    main: Model = Field(description="answers the client; it gets no images")
    eye: Model = Field(description="describes the images")
    ocr: Literal["off", "also", "only"] = Field(
        "off", description="read text locally: in addition to the description, or instead of it"
    )
    pdf_pages: int = Field(0, ge=0, le=20, description="pages of a PDF to describe; 0: pass it on")
    most_looks: int = Field(
        6, ge=0, le=50, description="rounds of tool calls in one answer; 0: no tool"
    )
    timeout_s: float = Field(120.0, gt=0, description="seconds for one answer of eye")
    tool_name: str = Field(
        "look", pattern=r"^[a-zA-Z0-9_-]{1,64}$", description="name of the eye's tool"
    )
    tool_description: str = Field(TOOL_DESCRIPTION, description="tells main when to call it")
    description_prompt: str = Field(DESCRIPTION_PROMPT, description="asks for the description")
    question_prompt: str = Field(
        QUESTION_PROMPT, pattern=r"\{question\}", description="asks main's {question}"
    )


@dataclass(frozen=True)
class Sight:
    """An image of the conversation; ``label`` is its name for the text model."""

    part: Image | File
    digest: str

    @property
    def label(self) -> str:
        return self.digest[:8]

    @property
    def kind(self) -> str:
        return "image" if isinstance(self.part, Image) else "document"


@flow
async def vision(run: Run[VisionParams]) -> Reply:
    """A text-only model uses a vision model; the client does not see this."""
    params = run.params
    sights = sights_in(run.conversation, documents=params.pdf_pages > 0)
    if not sights:
        return await run.ask(params.main, step="main", emit=True)
    told = await descriptions(run, sights)
    references = {
        sight.digest: Text(f"[{sight.kind} {sight.label}: {told[sight.digest]}]")
        for sight in sights
    }

    def reference(part: Image | File) -> Part | None:
        return references.get(media_digest(part))

    readable = with_media_replaced(run.conversation, reference)
    look = [looking(run, {sight.label: sight for sight in sights})] if params.most_looks else []
    return await run.converse(
        params.main, readable, tools=look, rounds=params.most_looks, step="main"
    )


def sights_in(conversation: Conversation, *, documents: bool) -> list[Sight]:
    """Return the images of the conversation in order, without duplicates."""
    seen: dict[str, Sight] = {}
    for part in media_in(conversation):
        if isinstance(part, Image) or (documents and is_pdf(part)):
            digest = media_digest(part)
            seen.setdefault(digest, Sight(part, digest))
    return list(seen.values())


async def descriptions(run: Run[VisionParams], sights: list[Sight]) -> dict[str, str]:
    """Return the descriptions of images by digest, stored ones or new ones made concurrently."""
    places = {memory_of(run.params, sight): sight for sight in sights}
    known = await run.recall_each(list(places), scope="always")
    new = [sight for place, sight in places.items() if place not in known]
    made = await asyncio.gather(*(described(run, sight) for sight in new))
    told = {places[place].digest: text for place, text in known.items()}
    return told | {sight.digest: text for sight, text in zip(new, made, strict=True)}


def memory_of(params: VisionParams, sight: Sight) -> str:
    """Return the name a description is stored under, with everything it depends on."""
    how = f"{params.eye}\0{params.description_prompt}\0{params.ocr}\0{params.pdf_pages}"
    return f"description {sight.digest} {hashlib.sha256(how.encode()).hexdigest()}"


async def described(run: Run[VisionParams], sight: Sight) -> str:
    """Describe a new image. A failure is reported to the text model and not stored."""
    try:
        if isinstance(sight.part, Image):
            text = await first_look(run, sight, sight.part)
        else:
            text = await first_pages(run, sight)
    except ModelError as error:
        run.note("not described", image=sight.label, kind=error.kind, message=error.message)
        return f"it could not be described ({error.message})"
    await run.remember(memory_of(run.params, sight), text, scope="always")
    return text


async def first_look(
    run: Run[VisionParams], sight: Sight, image: Image, page: int | None = None
) -> str:
    params = run.params
    told: list[str] = []
    if params.ocr != "only":
        told.append(await asked(run, image, params.description_prompt, f"describe {sight.label}"))
    if params.ocr != "off":
        where = {"digest": sight.digest, "page": page}
        found = await run.tool("read_text", where, step=f"read {sight.label}")
        told.append(f"Text found in it:\n{found['text'] or '(none)'}")
    return "\n".join(told)


async def first_pages(run: Run[VisionParams], sight: Sight) -> str:
    where = {"digest": sight.digest, "most": run.params.pdf_pages}
    found = await run.tool("pdf_pages", where, step=f"pages of {sight.label}")
    looks = [
        first_look(run, sight, picture(page), number)
        for number, page in enumerate(found["pages"], start=1)
    ]
    told = [f"Page {n}: {text}" for n, text in enumerate(await asyncio.gather(*looks), start=1)]
    more = found["count"] - len(told)
    if more:
        told.append(f"{more} more pages were not looked at.")
    return "\n".join(told)


def looking(run: Run[VisionParams], sights: dict[str, Sight]) -> MountedTool:
    """Return the tool with which the text model asks about an image."""

    async def look(call: ToolCall) -> str:
        wanted = json.loads(call.arguments or "{}")
        sight = sights.get(str(wanted.get("image", "")).removeprefix("image ").strip())
        if sight is None:
            return f"There is no such image. Images: {', '.join(sights)}."
        image = await seen(run, sight, wanted)
        question = str(wanted.get("question") or "What does it show?")
        prompt = run.params.question_prompt.replace("{question}", question)
        return await asked(run, image, prompt, f"look at {sight.label}")

    async def look_or_say(call: ToolCall) -> str:
        try:
            return await look(call)
        except (ValueError, AttributeError):
            return "The arguments are no JSON object with image and question."

    properties = {
        "image": {"type": "string", "description": "the image's ID"},
        "question": {"type": "string", "description": "what you want to know"},
        "region": {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 1},
            "minItems": 4,
            "maxItems": 4,
            "description": "left, top, right, bottom as fractions of the image's size",
        },
        "page": {"type": "integer", "minimum": 1, "description": "the page of a document"},
    }
    if not run.params.pdf_pages:
        del properties["page"]
    schema = {
        "type": "object",
        "properties": properties,
        "required": ["image", "question"],
        "additionalProperties": False,
    }
    return MountedTool(Tool(run.params.tool_name, run.params.tool_description, schema), look_or_say)


async def seen(run: Run[VisionParams], sight: Sight, wanted: dict[str, Json]) -> Image:
    """Return the requested image or region of it."""
    if isinstance(sight.part, Image) and not wanted.get("region"):
        return sight.part
    where = {
        "digest": sight.digest,
        "page": wanted.get("page", 1) if isinstance(sight.part, File) else None,
        "box": wanted.get("region") or [0, 0, 1, 1],
    }
    return picture(await run.tool("crop_image", where, step=f"crop {sight.label}"))


def picture(made: dict[str, Json]) -> Image:
    return Image(Source(media_type=made["media_type"], data=made["data"]))


async def asked(run: Run[VisionParams], image: Image, prompt: str, step: str) -> str:
    """Ask the eye about one image."""
    # The client's settings of the image (cache, detail) are meant for another model.
    bare = Image(image.source)
    conversation = Conversation((Message("user", (bare, Text(prompt))),))
    reply = await run.ask(run.params.eye, conversation, step=step, timeout_s=run.params.timeout_s)
    return reply.text.strip() or "(nothing was said about it)"
