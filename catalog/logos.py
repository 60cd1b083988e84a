"""Logos of packages: checked, and drawn anew, so that nothing of what was sent reaches a browser but its pixels."""

from __future__ import annotations

import io

import PIL.Image

FORMATS = ("PNG", "JPEG", "GIF")  # spec/api-v1 §1.11; no SVG, which is a program
BYTES = 500 << 10  # of a logo as it comes
SIDE = 4096  # pixels of its longer side
PIXELS = 8 << 20  # of it altogether: four times as many bytes are needed for a moment
STORED_SIDE = 512  # pixels of the longer side as it is kept
EXPECTED = f"a PNG, JPEG or GIF image of at most {BYTES >> 10} KiB, {SIDE} pixels a side and {PIXELS >> 20} megapixels"


class NoLogo(ValueError):
    """What is no logo; the message says what was found."""


def drawn(data: bytes) -> bytes:
    """The image as PNG, the first frame of several, at most `STORED_SIDE` wide and high. Raises `NoLogo`."""
    if len(data) > BYTES:
        raise NoLogo(f"{len(data)} bytes")
    try:
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if max(image.size) > SIDE or image.width * image.height > PIXELS:
                raise NoLogo(f"{image.width}x{image.height} pixels")  # before any of them is unpacked
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            picture = image.convert("RGBA" if has_alpha else "RGB")
    except NoLogo:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, PIL.Image.DecompressionBombError) as failure:
        raise NoLogo(str(failure)[:100])
    picture.thumbnail((STORED_SIDE, STORED_SIDE))
    fresh = PIL.Image.new(picture.mode, picture.size)  # takes over no text, profile or other data
    fresh.paste(picture)
    buffer = io.BytesIO()
    fresh.save(buffer, "PNG")
    return buffer.getvalue()
