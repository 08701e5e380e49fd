"""Makes docs/pictures/styles.jpg: the public-domain astronaut of scikit-image in every style of the embedded model.

Run it from the repository's root: ``.venv/bin/python docs/pictures/make_styles.py`` (needs the ``dev`` extra).
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from skimage.data import astronaut

from streamgen.config import ModelSpec
from streamgen.engine import build_engine
from streamgen.frames import Frame, Pixels
from streamgen.settings import FrameFormat, StreamSettings

SIDE = 320
COLUMNS = 4
CAPTION = 30
OUTPUT = Path(__file__).with_name("styles.jpg")


def stylised() -> dict[str, Pixels]:
    """The picture as it is, then in each style: one step from pure noise, seed 0."""
    engine = build_engine(ModelSpec())
    format = FrameFormat(width=SIDE, height=SIDE)
    frame = Frame(astronaut()[0:400, 30:430].copy())
    pictures = {}
    for name in ("camera", *engine.model.styles):
        settings = StreamSettings(strength=0.0) if name == "camera" else StreamSettings(prompt=name)
        engine.open(name, format, settings)
        [(_, output)] = engine.step([(name, frame)], 0.0)
        pictures[name] = output.pixels
    engine.close_all()
    return pictures


def sheet(pictures: dict[str, Pixels]) -> Image.Image:
    """The pictures in rows, each with its name below."""
    rows = -(-len(pictures) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * SIDE, rows * (SIDE + CAPTION)), (16, 18, 22))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(18)
    for index, (name, pixels) in enumerate(pictures.items()):
        x, y = index % COLUMNS * SIDE, index // COLUMNS * (SIDE + CAPTION)
        canvas.paste(Image.fromarray(pixels), (x, y))
        draw.text((x + 10, y + SIDE + 4), name, font=font, fill=(220, 224, 230))
    return canvas


if __name__ == "__main__":
    sheet(stylised()).save(OUTPUT, quality=88)
    print(OUTPUT)
