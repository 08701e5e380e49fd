"""What a client may choose: live settings, and the frame format fixed when a session opens.

``settings_schema()`` is the JSON Schema that drives the web page's controls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from streamgen.errors import SettingsError

__all__ = [
    "MAX_PROMPT_CHARACTERS",
    "SIZE_MAX",
    "SIZE_MIN",
    "SIZE_MULTIPLE",
    "BlendEntry",
    "FrameFormat",
    "Reading",
    "StreamSettings",
    "merge_settings",
    "parse_format",
    "settings_schema",
]

MAX_PROMPT_CHARACTERS = 1000
SIZE_MULTIPLE = 32
SIZE_MIN = 128
SIZE_MAX = 1024

Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
Side = Annotated[int, Field(strict=True, ge=SIZE_MIN, le=SIZE_MAX, multiple_of=SIZE_MULTIPLE)]


class BlendEntry(BaseModel):
    """One prompt of a weighted mix."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Prompt
    weight: float = Field(default=1.0, strict=True, ge=0.0, le=10.0, allow_inf_nan=False)


class StreamSettings(BaseModel):
    """What a client may change while the stream runs. Changes values, never shapes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Prompt = Field(default="", title="Prompt", description="The look, in words. Empty means the default style.")
    prompts_blend: tuple[BlendEntry, ...] = Field(
        default=(),
        fail_fast=True,
        max_length=4,
        title="Blend",
        description="Up to four weighted prompts. When present they replace the prompt.",
    )
    strength: float = Field(
        default=1.0,
        strict=True,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        title="Strength",
        description="0 keeps the plain frame, 1 starts from pure noise.",
        json_schema_extra={"step": 0.01},
    )
    steps: int = Field(
        default=1, strict=True, ge=1, le=4, title="Steps", description="Denoising steps per frame. More is slower."
    )
    seed: int = Field(default=0, strict=True, ge=0, le=2**32 - 1, title="Seed", description="Varies the brushwork.")
    seed_speed: float = Field(
        default=0.0,
        strict=True,
        ge=0.0,
        le=10.0,
        allow_inf_nan=False,
        title="Seed travel",
        description="Seeds passed through per second, counted up from the seed. 0 stays at it.",
        json_schema_extra={"step": 0.05},
    )
    negative_prompt: Prompt = Field(
        default="",
        title="Negative prompt",
        description="What to steer away from. Diffusion models need guidance above 1 for it.",
    )
    guidance: float = Field(
        default=0.0,
        strict=True,
        ge=0.0,
        le=20.0,
        allow_inf_nan=False,
        title="Guidance",
        description="How strongly the prompt steers. 0 is the model's own choice, 1 switches guidance off.",
        json_schema_extra={"step": 0.1},
    )
    guidance_mode: Literal["self", "onetime", "full"] = Field(
        default="self",
        title="Guidance mode",
        description=(
            "self steers away from the frame itself and costs nothing; onetime computes the negative prompt in the "
            "first step, full in every step."
        ),
    )
    stream_batch: bool = Field(
        default=False,
        strict=True,
        title="Stream batch",
        description="Compute all steps of successive frames together: more frames per second, steps - 1 frames later.",
    )
    feedback: float = Field(
        default=0.0,
        strict=True,
        ge=0.0,
        le=0.95,
        allow_inf_nan=False,
        title="Feedback",
        description="How much of the last picture stays where nothing moves. Calms flicker.",
        json_schema_extra={"step": 0.01},
    )
    skip_similar: float = Field(
        default=0.0,
        strict=True,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        title="Skip similar frames",
        description="Frames that differ less than this from the last one are mostly skipped. 0 computes every frame.",
        json_schema_extra={"step": 0.01},
    )
    loras: dict[Annotated[str, Field(max_length=64)], Annotated[float, Field(ge=-4.0, le=4.0, allow_inf_nan=False)]] = (
        Field(
            default_factory=dict,
            max_length=16,
            title="LoRA weights",
            description="By name. Those not named keep the weight they were loaded with.",
        )
    )
    control_scale: float = Field(
        default=1.0,
        strict=True,
        ge=0.0,
        le=2.0,
        allow_inf_nan=False,
        title="Control",
        description="How strictly the ControlNet holds the picture to the frame.",
        json_schema_extra={"step": 0.01},
    )
    reference_scale: float = Field(
        default=0.6,
        strict=True,
        ge=0.0,
        le=2.0,
        allow_inf_nan=False,
        title="Reference",
        description="How strongly the reference picture steers.",
        json_schema_extra={"step": 0.01},
    )
    source: Literal["frames", "prompt"] = Field(
        default="frames",
        title="Source",
        description="frames stylises what is sent; prompt makes pictures from the prompt alone, at the frame rate.",
    )
    alpha: bool = Field(
        default=False,
        strict=True,
        title="Transparency",
        description="Outputs carry alpha: what the key takes away and the edges of a padded frame are see-through.",
    )
    matte: Literal["none", "person", "background"] = Field(
        default="none",
        title="Matte",
        description="What is stylised: all of it, the person alone or the background alone. With alpha the rest is "
        "see-through, without it plain.",
    )
    key_colour: Annotated[str, Field(pattern=r"^(#[0-9a-fA-F]{6})?$")] = Field(
        default="",
        title="Key colour",
        description="The colour of the screen behind the subject, as #rrggbb. Empty keys nothing.",
        json_schema_extra={"format": "color"},
    )
    key_similarity: float = Field(
        default=0.4,
        strict=True,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        title="Key similarity",
        description="How far from the key colour is taken away too. 1 reaches to grey.",
        json_schema_extra={"step": 0.01},
    )
    key_smoothness: float = Field(
        default=0.2,
        strict=True,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        title="Key smoothness",
        description="How softly the keyed area ends.",
        json_schema_extra={"step": 0.01},
    )
    transition_ms: int = Field(
        default=400,
        strict=True,
        ge=0,
        le=10_000,
        title="Transition",
        description="How long a new prompt takes to fade in, in milliseconds.",
        json_schema_extra={"step": 50},
    )
    max_fps: int = Field(
        default=30,
        strict=True,
        ge=1,
        le=60,
        title="Frame rate",
        description="Frames per second at most; later frames are dropped.",
    )
    quality: int = Field(
        default=85,
        strict=True,
        ge=30,
        le=95,
        title="Picture quality",
        description="JPEG quality of the frames sent back.",
    )
    video_bitrate_kbps: int = Field(
        default=0,
        strict=True,
        ge=0,
        le=20_000,
        title="Video bitrate",
        description="Kilobits per second at most over WebRTC; the network may allow less. 0 suits the picture's size.",
        json_schema_extra={"step": 100},
    )
    video_codec: Literal["auto", "vp8", "h264"] = Field(
        default="auto",
        title="Video codec",
        description="What is preferred over WebRTC. Holds for connections made from now on.",
    )
    audio_sync: bool = Field(
        default=False,
        strict=True,
        title="Sound in step",
        description="Delay the sound that passes through by as long as the picture takes.",
    )

    @model_validator(mode="after")
    def _blend_has_weight(self) -> StreamSettings:
        if self.prompts_blend and sum(entry.weight for entry in self.prompts_blend) <= 0:
            raise ValueError("prompts_blend needs at least one weight above 0")
        return self

    def weighted_prompts(self) -> tuple[tuple[str, float], ...]:
        """The prompts in force with weights that sum to 1."""
        entries = [(entry.prompt, entry.weight) for entry in self.prompts_blend] or [(self.prompt, 1.0)]
        total = sum(weight for _, weight in entries)
        return tuple((prompt, weight / total) for prompt, weight in entries)


class FrameFormat(BaseModel):
    """The shape of a session's output, which fixes every tensor's shape. Changed by ``reformat`` alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Side = Field(default=256, title="Width", description="Output width in pixels.")
    height: Side = Field(default=256, title="Height", description="Output height in pixels.")
    fit: Literal["cover", "contain"] = Field(
        default="cover",
        title="Fit",
        description="Frames of another shape are cropped to fill (cover) or padded to be seen whole (contain).",
    )
    upscale: Literal[1, 2, 4] = Field(
        default=1,
        title="Upscale",
        description=(
            "The model paints at a half or a quarter of width and height, which is faster, and an upscaler enlarges it."
        ),
    )

    @field_validator("upscale")
    @classmethod
    def _divides_the_size(cls, upscale: int, info: ValidationInfo) -> int:
        sides = [info.data[name] for name in ("width", "height") if name in info.data]
        if any(side % (upscale * SIZE_MULTIPLE) or side < upscale * SIZE_MIN for side in sides):
            fact = f"multiples of {upscale * SIZE_MULTIPLE} and at least {upscale * SIZE_MIN}"
            raise ValueError(f"needs a width and a height that are {fact}")
        return upscale

    @property
    def painted(self) -> FrameFormat:
        """What the model makes; the upscaler does the rest."""
        if self.upscale == 1:
            return self
        return FrameFormat(width=self.width // self.upscale, height=self.height // self.upscale, fit=self.fit)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a model read a prompt.

    Args:
        understood: 0 (the text asks for no look that is known) to 1 (it names what it asks for).
        styles: the styles it was read as, with weights that sum to 1; the nearest ones where it was not understood.
    """

    understood: float
    styles: dict[str, float] = field(default_factory=dict)


def merge_settings(current: StreamSettings, changes: dict[str, Any]) -> StreamSettings:
    """Return ``current`` with ``changes`` applied and validated as a whole.

    A new ``prompt`` without ``prompts_blend`` ends a blend, because the client asked to see that prompt.

    Raises:
        SettingsError: ``invalid_settings`` naming the first field at fault; ``current`` stays in force.
    """
    if "prompt" in changes and "prompts_blend" not in changes:
        changes = {**changes, "prompts_blend": ()}
    try:
        return StreamSettings.model_validate({**current.model_dump(), **changes})
    except ValidationError as error:
        raise _settings_error(error) from None


def parse_format(values: dict[str, Any]) -> FrameFormat:
    """Validate a frame format.

    Raises:
        SettingsError: ``invalid_settings`` naming the first field at fault.
    """
    try:
        return FrameFormat.model_validate(values)
    except ValidationError as error:
        raise _settings_error(error) from None


def settings_schema() -> dict[str, Any]:
    """JSON Schema of the live settings; the frame format stands under ``$defs.FrameFormat``."""
    schema = StreamSettings.model_json_schema()
    schema.setdefault("$defs", {})["FrameFormat"] = FrameFormat.model_json_schema()
    return schema


def _settings_error(error: ValidationError) -> SettingsError:
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    fact = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return SettingsError("unknown_setting", f"there is no setting named {name[:100]!r}", field=name[:100])
    shown = repr(first["input"])
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return SettingsError("invalid_settings", f"{name}: {fact[0].lower()}{fact[1:]}, got {shown}", field=name)
