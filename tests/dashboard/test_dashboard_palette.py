"""The colours of the style sheet: readable in both schemes, by the contrast WCAG 2 asks for (level AA)."""

from __future__ import annotations

import colorsys
import pathlib
import re

import pytest

import dashboard

SHEET = (pathlib.Path(dashboard.__file__).parent / "static" / "style.css").read_text(encoding="utf-8")
TEXT, LARGE = 4.5, 3.0  # the least contrast of text, and of large text and of the edges of controls
SCHEMES = ("light", "dark")
# What stands on what, and with which part of its own colour the ground is tinted (badges 12 %, messages 8 %).
PAIRS = [
    *(
        (ink, ground, TEXT)
        for ink in ("ink", "dim", "accent", "good", "warn", "bad", "busy")
        for ground in ("paper", "sheet")
    ),
    ("on-accent", "accent", TEXT),
    ("on-bad", "bad", TEXT),
    ("edge", "paper", LARGE),
    ("edge", "sheet", LARGE),
    ("accent", "paper", LARGE),
]
TINTED = [(tone, ground) for tone in ("good", "warn", "bad", "busy", "dim") for ground in ("paper", "sheet")]

Colour = tuple[float, float, float]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("ink", "ground", "least"), PAIRS)
def test_ink_is_readable_on_its_ground(scheme, ink, ground, least):
    assert contrast(colour(ink, scheme), colour(ground, scheme)) >= least


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("tone", "ground"), TINTED)
def test_badges_and_messages_are_readable_on_their_own_tint(scheme, tone, ground):
    own = colour(tone, scheme)
    for share in (0.08, 0.12, 0.14):
        tinted = tuple(share * a + (1 - share) * b for a, b in zip(own, colour(ground, scheme), strict=True))
        assert contrast(own, tinted) >= TEXT


@pytest.mark.parametrize("hue", range(0, 360, 30))
def test_the_initial_of_a_missing_logo_is_readable(hue):
    saturation, lightness = map(int, re.search(r"hsl\(var\(--hue, 190\) (\d+)% (\d+)%\); color: #fff", SHEET).groups())
    ground = colorsys.hls_to_rgb(hue / 360, lightness / 100, saturation / 100)
    assert contrast((1.0, 1.0, 1.0), ground) >= TEXT


def test_every_colour_of_the_palette_has_both_schemes():
    root = re.search(r":root \{(.*?)\n\}", SHEET, re.S).group(1)
    plain = [line for line in root.splitlines() if "#" in line and "light-dark" not in line]
    assert plain == []
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", SHEET.replace(root, "")) == ["#fff"]


def colour(name: str, scheme: str) -> Colour:
    found = re.search(rf"--{name}: light-dark\(#(\w{{6}}), #(\w{{6}})\);", SHEET)
    text = found.group(1 + SCHEMES.index(scheme))
    red, green, blue = (int(text[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return red, green, blue


def contrast(one: Colour, other: Colour) -> float:
    """WCAG 2.2, "contrast ratio"."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(given: Colour) -> float:
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in given)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
