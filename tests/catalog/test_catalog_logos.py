"""Logos: only pixels get from an upload to a browser, and no more of them than a page needs."""

from __future__ import annotations

import io
import random
import struct
import zlib

import PIL.Image
import PIL.PngImagePlugin
import pytest
from catalog_cloud import Cloud, package_files, zipped

from catalog import logos

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(2)</script></svg>'
SCRIPT = b"<script>alert(document.domain)</script>"


def image(kind: str, size: tuple[int, int] = (40, 20), mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new(mode, size, 0x336699 if mode == "RGB" else 0).save(buffer, kind, **options)
    return buffer.getvalue()


def opened(data: bytes) -> PIL.Image.Image:
    picture = PIL.Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    return picture


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(100), 9)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_logo_of_each_kind_is_kept_as_png(cloud: Cloud, kind: str) -> None:
    files = {**package_files("org.example.App"), "logo.png": image(kind), "supplier_logo.png": image(kind, (9, 9))}
    package_id = cloud.member.upload(zipped(files)).json["id"]
    assert opened(cloud.member("GET", f"/v1/catalog/packages/{package_id}/logo").body).size == (40, 20)
    assert opened(cloud.member("GET", f"/v1/catalog/packages/{package_id}/supplier_logo").body).size == (9, 9)


def test_colours_and_transparency_stay() -> None:
    assert opened(logos.drawn(image("PNG"))).convert("RGB").getpixel((3, 3)) == (0x99, 0x66, 0x33)
    clear = opened(logos.drawn(image("PNG", mode="RGBA")))
    assert clear.mode == "RGBA"
    assert clear.getpixel((0, 0)) == (0, 0, 0, 0)
    palette = image("GIF", mode="P", transparency=0)
    assert opened(logos.drawn(palette)).convert("RGBA").getpixel((0, 0)) == (0, 0, 0, 0)


def test_a_large_logo_is_made_smaller_in_its_proportions() -> None:
    assert opened(logos.drawn(image("PNG", (2048, 1024)))).size == (512, 256)
    assert len(logos.drawn(image("JPEG", (2000, 2000)))) < 1 << 20


def test_nothing_that_rides_along_is_kept() -> None:
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Comment", SCRIPT.decode())
    for data in (
        image("PNG", pnginfo=text),
        image("PNG", icc_profile=SCRIPT),
        image("JPEG", comment=SCRIPT),
        image("GIF", comment=SCRIPT),
        image("PNG") + SCRIPT,
    ):
        assert SCRIPT in data or b"zTXt" in data or b"iCCP" in data
        drawn = logos.drawn(data)
        assert SCRIPT not in drawn
        assert set(opened(drawn).info) <= {"dpi"}


def test_of_an_animation_the_first_picture_is_kept() -> None:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    drawn = opened(logos.drawn(buffer.getvalue()))
    assert drawn.convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    assert getattr(drawn, "n_frames", 1) == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(SVG, "cannot identify", id="SVG"),
        pytest.param(b"", "cannot identify", id="nothing"),
        pytest.param(bomb(50_000, 50_000), "2500000000 pixels", id="decompression bomb"),
        pytest.param(bomb(4096, 4096), "4096x4096", id="too many pixels"),
        pytest.param(bomb(4097, 1), "4097x1", id="too wide"),
        pytest.param(image("PNG")[:60], "truncated|broken", id="cut off"),
        pytest.param(image("BMP"), "cannot identify", id="another format"),
        pytest.param(image("PNG") + b"\0" * logos.BYTES, "bytes", id="too large"),
    ],
)
def test_what_is_no_logo_is_refused_with_what_was_found(cloud: Cloud, data: bytes, said: str) -> None:
    with pytest.raises(logos.NoLogo, match=said):
        logos.drawn(data)
    answer = cloud.member.upload(zipped({**package_files("org.example.App"), "logo.png": data}), status=400)
    assert "logo" in answer.text
    assert "PNG, JPEG or GIF" in answer.text


def test_a_form_is_text_within_a_limit(cloud: Cloud) -> None:
    for form, said in (
        (b"a: " + random.Random(1).randbytes(600_000).hex().encode(), "1024 KiB"),
        (b"a: \0", "NUL"),
        (b"\xff\xfe", "UTF-8"),
    ):
        files = {**package_files("org.example.App"), "UI/ui.yaml": form}
        assert said in cloud.member.upload(zipped(files), status=400).text
