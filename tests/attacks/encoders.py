"""Image files made byte by byte, in bit depths and variants that Pillow does not write, with the pixels they stand for.

Each maker takes a NumPy generator and returns (bytes, expected pixels (H, W) or (H, W, 3) as uint8, tolerance). The
expected pixels follow from the formats' definitions, not from Pillow.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

Made = tuple[bytes, np.ndarray, int]

WIDTH, HEIGHT = 8, 6  # rows of whole bytes at every bit depth


def eight(values: np.ndarray, white: int) -> np.ndarray:
    """Values in [0, white] to [0, 255]."""
    return np.rint(values.astype(np.float64) * 255 / white).astype(np.uint8)


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colour (…, 1 or 3) with opacity alpha (…), both in [0, 255], over white."""
    share = alpha[..., None].astype(np.float64) / 255
    return np.rint(share * colour + (1 - share) * 255).astype(np.uint8)


# -- PNG -------------------------------------------------------------------------------------------------------------


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of values (H, W·channels), `bits` each, every row after the byte of its filter (none)."""
    if bits == 16:
        rows = values.astype(">u2").view(np.uint8).reshape(len(values), -1)
    elif bits == 8:
        rows = values.astype(np.uint8)
    else:
        places = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        rows = np.packbits(places.reshape(len(values), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in rows)


def _png(values: np.ndarray, bits: int, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    height, width = values.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    body = zlib.compress(_packed(values.reshape(height, -1), bits))
    parts = [(b"IHDR", head), *chunks, (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def png_grey(random: np.random.Generator) -> Made:
    bits = int(random.choice([1, 2, 4, 8, 16]))
    white = 2**bits - 1
    values = random.integers(0, white, (HEIGHT, WIDTH), endpoint=True)
    expected, chunks = eight(values, white), []
    if random.random() < 0.5:
        clear = int(values[0, 0])
        chunks = [(b"tRNS", struct.pack(">H", clear))]
        expected[values == clear] = 255
    return _png(values, bits, 0, *chunks), expected, 0


def png_colour(random: np.random.Generator) -> Made:
    bits = int(random.choice([8, 16]))
    white = 2**bits - 1
    values = random.integers(0, white, (HEIGHT, WIDTH, 3), endpoint=True)
    expected, chunks = eight(values, white), []
    if random.random() < 0.5:
        clear = values[0, 0]
        chunks = [(b"tRNS", struct.pack(">HHH", *clear))]
        expected[(values == clear).all(axis=2)] = 255
    return _png(values, bits, 2, *chunks), expected, 1  # Pillow takes the high byte of 16 bits


def png_palette(random: np.random.Generator) -> Made:
    bits = int(random.choice([1, 2, 4, 8]))
    colours = 2**bits
    palette = random.integers(0, 255, (colours, 3), endpoint=True)
    values = random.integers(0, colours, (HEIGHT, WIDTH))
    chunks, expected = [(b"PLTE", palette.astype(np.uint8).tobytes())], palette[values].astype(np.uint8)
    if random.random() < 0.5:
        alpha = random.integers(0, 255, colours, endpoint=True)
        chunks.append((b"tRNS", alpha.astype(np.uint8).tobytes()))
        expected = on_white(palette[values], alpha[values])
    return _png(values, bits, 3, *chunks), expected, 1


def png_alpha(random: np.random.Generator) -> Made:
    bits, channels = int(random.choice([8, 16])), int(random.choice([2, 4]))
    white = 2**bits - 1
    values = random.integers(0, white, (HEIGHT, WIDTH, channels), endpoint=True)
    values[0, :, -1], values[1, :, -1] = 0, white
    expected = on_white(eight(values[..., :-1], white), eight(values[..., -1], white))
    return _png(values, bits, 4 if channels == 2 else 6), expected.squeeze(2) if channels == 2 else expected, 2


#: What each EXIF orientation asks for, applied to the stored pixels.
ORIENTATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


def turned(random: np.random.Generator) -> Made:
    orientation = int(random.integers(1, 9))
    exif = Image.Exif()
    exif[0x0112] = orientation
    deep = random.random() < 0.3
    shape = (HEIGHT, WIDTH) if deep else (HEIGHT, WIDTH, 3)
    values = random.integers(0, 65_535 if deep else 255, shape, endpoint=True)
    stored = Image.fromarray(values.astype(np.uint16 if deep else np.uint8))
    kind = "PNG" if deep else str(random.choice(["PNG", "WEBP"]))
    file = io.BytesIO()
    stored.save(file, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    expected = eight(values, 65_535) if deep else values.astype(np.uint8)
    return file.getvalue(), ORIENTATIONS[orientation](expected), 0


# -- TIFF, PPM -------------------------------------------------------------------------------------------------------


def tiff_grey(random: np.random.Generator) -> Made:
    bits, white_is_zero = int(random.choice([8, 12, 16])), bool(random.random() < 0.5)
    if bits == 12:
        white_is_zero = False  # Pillow does not open it
    white = 2**bits - 1
    values = random.integers(0, white, (HEIGHT, WIDTH), endpoint=True)
    order = "<" if bits == 12 or white_is_zero or random.random() < 0.5 else ">"
    if bits == 12:
        places = (values[..., None] >> np.arange(11, -1, -1)) & 1
        data = np.packbits(places.reshape(HEIGHT, -1).astype(np.uint8), axis=1).tobytes()
    else:
        data = values.astype(f"{order}u2" if bits == 16 else np.uint8).tobytes()
    expected = eight(white - values if white_is_zero else values, white)
    return _tiff(order, bits, 0 if white_is_zero else 1, data), expected, 0


def _tiff(order: str, bits: int, photometric: int, data: bytes) -> bytes:
    """One strip of grey pixels, uncompressed."""
    tags = [
        *((256, 3, WIDTH), (257, 3, HEIGHT), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8)),
        *((277, 3, 1), (278, 3, HEIGHT), (279, 4, len(data))),
    ]
    data += b"\0" * (len(data) % 2)
    parts = [b"II*\0" if order == "<" else b"MM\0*", struct.pack(f"{order}I", 8 + len(data)), data]
    parts.append(struct.pack(f"{order}H", len(tags)))
    for tag, kind, value in tags:
        parts.append(struct.pack(f"{order}HHI", tag, kind, 1))
        parts.append(struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value))
    return b"".join([*parts, struct.pack(f"{order}I", 0)])


def netpbm(random: np.random.Generator) -> Made:
    white = int(random.choice([1, 100, 255, 1023, 65_535]))
    grey = random.random() < 0.5
    values = random.integers(0, white, (HEIGHT, WIDTH) if grey else (HEIGHT, WIDTH, 3), endpoint=True)
    data = values.astype(">u2" if white > 255 else np.uint8).tobytes()
    head = f"{'P5' if grey else 'P6'} {WIDTH} {HEIGHT} {white}\n".encode()
    return head + data, eight(values, white), 1


# -- Formats that Pillow writes --------------------------------------------------------------------------------------


def lossless(random: np.random.Generator) -> Made:
    kind = str(random.choice(["BMP", "WEBP", "TIFF"]))
    mode = str(random.choice(["RGB", "RGBA"] if kind == "WEBP" else ["1", "L", "RGB"]))
    channels = {"1": 1, "L": 1, "RGB": 3, "RGBA": 4}[mode]
    values = random.integers(0, 255, (HEIGHT, WIDTH, channels), endpoint=True).astype(np.uint8)
    if mode == "1":
        values = np.where(values > 127, 255, 0).astype(np.uint8)
    picture = Image.fromarray(values.squeeze(2) if channels == 1 else values)
    picture = picture.convert("1", dither=Image.Dither.NONE) if mode == "1" else picture
    file = io.BytesIO()
    picture.save(file, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    expected = on_white(values[..., :3], values[..., 3]) if mode == "RGBA" else values
    return file.getvalue(), expected.squeeze(2) if channels == 1 else expected, 1


def cmyk(random: np.random.Generator) -> Made:
    ink = random.integers(0, 255, 4, endpoint=True)
    kind = str(random.choice(["JPEG", "TIFF"]))
    file = io.BytesIO()
    Image.new("CMYK", (WIDTH, HEIGHT), tuple(int(each) for each in ink)).save(
        file, kind, **({"quality": 100} if kind == "JPEG" else {})
    )
    colour = (255 - ink[:3].astype(np.float64)) * (255 - ink[3]) / 255
    return file.getvalue(), np.broadcast_to(np.rint(colour).astype(np.uint8), (HEIGHT, WIDTH, 3)), 3


def jpeg(random: np.random.Generator) -> Made:
    grey = random.random() < 0.5
    colour = random.integers(0, 255, 1 if grey else 3, endpoint=True).astype(np.uint8)
    shape = (HEIGHT, WIDTH) if grey else (HEIGHT, WIDTH, 3)
    values = np.ascontiguousarray(np.broadcast_to(colour[0] if grey else colour, shape))
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=95)
    return file.getvalue(), values, 3


MAKERS: dict[str, tuple[str, Callable[[np.random.Generator], Made]]] = {
    "PNG grey, 1 to 16 bits": (".png", png_grey),
    "PNG colour, 8 and 16 bits": (".png", png_colour),
    "PNG palette": (".png", png_palette),
    "PNG with alpha": (".png", png_alpha),
    "EXIF orientation": (".png", turned),
    "TIFF grey, 8 to 16 bits": (".tif", tiff_grey),
    "PGM and PPM": (".ppm", netpbm),
    "BMP, WebP, TIFF": (".bmp", lossless),
    "CMYK": (".jpg", cmyk),
    "JPEG": (".jpg", jpeg),
}
