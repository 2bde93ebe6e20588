"""Times and places of photos: what makes no sense is not believed."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from PIL import Image, TiffImagePlugin
from there import there

from edge.cameras.folder import Folder
from edge.cameras.photo import Facts, facts
from edge.config import FolderCamera
from edge.model.image.preprocessing import InputSpec

R = TiffImagePlugin.IFDRational
NOW = datetime(2026, 7, 1, tzinfo=UTC)
DHAKA = ZoneInfo("Asia/Dhaka")
SEVEN = "2026:06:01 07:00:00"
LAT, LON = (R(23), R(48), R(3600, 100)), (R(90), R(24), R(4500, 100))
GOOD = {1: "N", 2: LAT, 3: "E", 4: LON}
SENSELESS = """2026:06:01 24:00:00
2026:06:31 07:00:00
2026:13:01 07:00:00
1970:01:01 00:00:07
1980:01:01 12:00:00
2000:01:01 00:42:10
2017:01:01 00:00:00
2031:06:01 07:00:00
2026:07:03 07:00:00
2026-06-01T07:00:00
yesterday""".splitlines()
FIX = {29: "2026:06:01", 7: (R(1), R(0), R(2))}
"""Date and time of a fix."""


def photo(
    exif: dict[int, Any] | None = None, gps: dict[int, Any] | None = None, form: str = "JPEG"
) -> bytes:
    """Make a photo with these tags."""
    notes = Image.Exif()
    notes[271] = "ACME"
    notes.get_ifd(0x8769).update(exif or {})
    notes.get_ifd(0x8825).update(gps or {})
    whole = Image.Exif()
    whole.load(notes.tobytes())
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, form, exif=whole)
    return file.getvalue()


def read(
    exif: dict[int, Any] | None = None,
    gps: dict[int, Any] | None = None,
    zone: ZoneInfo | None = DHAKA,
) -> Facts:
    """What the header says, in July 2026."""
    return facts(photo(exif, gps), zone, NOW)


@pytest.mark.parametrize(
    ("exif", "gps", "expected"),
    [
        ({0x9003: SEVEN}, {}, "01:00:00"),
        ({0x9003: SEVEN, 0x9011: "+02:00"}, {}, "05:00:00"),
        ({0x9003: SEVEN, 0x9011: "-03:30"}, {}, "10:30:00"),
        ({0x9003: SEVEN, 0x9011: "Z"}, {}, "07:00:00"),
        ({0x9003: SEVEN, 0x9011: "+25:00"}, {}, "01:00:00"),
        ({0x9003: SEVEN, 0x9011: "   :  "}, {}, "01:00:00"),
        ({0x9004: SEVEN, 0x9012: "+02:00"}, {}, "05:00:00"),
        ({0x9003: "0000:00:00 00:00:00", 0x9004: SEVEN}, {}, "01:00:00"),
        ({0x9003: "2026:06:01 06:30:00"}, FIX, "01:00:00"),
        ({0x9003: "2026:06:01 06:45:07"}, FIX, "01:00:07"),
        ({0x9003: "2026:06:01 06:38:00"}, FIX, "01:00:02"),
        ({0x9003: SEVEN, 0x9011: "+02:00"}, FIX, "05:00:00"),
        ({0x9003: "1980:01:01 00:13:00"}, FIX, "01:00:02"),
        ({}, FIX, "01:00:02"),
        ({0x9003: SEVEN}, {**FIX, 29: "2026:05:20"}, "01:00:00"),
        ({0x9003: SEVEN}, {**FIX, 29: "2010:01:10", 9: "V"}, "01:00:00"),
        ({0x9003: SEVEN}, {**FIX, 7: (R(24), R(0), R(0))}, "01:00:00"),
        ({0x9003: SEVEN}, {**FIX, 7: (R(0, 0), R(0), R(0))}, "01:00:00"),
    ],
)
def test_a_time_is_in_its_own_zone_else_by_gps_else_in_the_configured_one(exif, gps, expected):
    """Camera clocks are local; fixes are UTC and tell by how much."""
    assert there(read(exif, gps).time).replace(microsecond=0) == datetime.fromisoformat(
        f"2026-06-01T{expected}+00:00"
    )


@pytest.mark.parametrize("text", SENSELESS)
def test_a_time_that_makes_no_sense_is_none_and_told(text):
    """No such time, a clock that was never set, or a time to come."""
    known = read({0x9003: text})
    assert known.time is None
    assert known.odd_time == (f"the time in its EXIF data, {text}, makes no sense",)


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "", "    :  :     :  :  "])
def test_a_time_that_was_not_set_is_none(text):
    """Zeros and blanks stand for that."""
    assert read({0x9003: text}) == read()
    assert read().time is None


def test_without_a_zone_anywhere_utc_is_taken_and_told():
    """The cure is in the message."""
    known = read({0x9003: SEVEN}, zone=None)
    assert known.time == datetime(2026, 6, 1, 7, tzinfo=UTC)
    assert known.odd_time == (
        "the time in its EXIF data has no zone, taken as UTC; set trigger.time_zone",
    )
    assert read({0x9003: SEVEN}).odd_time == ()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_container_tells_time_and_place(form):
    """Of a TIFF they stand among its own tags."""
    known = facts(photo({0x9003: SEVEN}, GOOD, form), DHAKA, NOW)
    assert known.time == datetime(2026, 6, 1, 1, tzinfo=UTC)
    place = there(known.location)
    assert (round(place.lat, 2), round(place.lon, 2)) == (23.81, 90.41)


@pytest.mark.parametrize(
    ("change", "lat", "lon"),
    [
        ({}, 23.81, 90.4125),
        ({9: "A"}, 23.81, 90.4125),
        ({1: "s", 3: "w"}, -23.81, -90.4125),
        ({1: "South", 3: "West"}, -23.81, -90.4125),
        ({2: (R(23), R(48), R(60))}, 23.8 + 1 / 60, 90.4125),
        ({2: (R(0), R(0), R(0))}, 0.0, 90.4125),
    ],
)
def test_a_place_is_signed_by_its_letters(change, lat, lon):
    """In capitals or not; one coordinate may be zero."""
    place = there(read(gps={**GOOD, **change}).location)
    assert (place.lat, place.lon) == pytest.approx((lat, lon))


@pytest.mark.parametrize(
    "change",
    [
        {2: (R(0), R(0), R(0)), 4: (R(0), R(0), R(0))},
        {2: (R(0, 0), R(0, 0), R(0, 0))},
        {4: (R(90), R(0, 0), R(0))},
        {9: "V"},
        {9: "v"},
    ],
)
def test_no_fix_is_no_place(change):
    """Nor is it odd: cameras write so under trees."""
    known = read(gps={**GOOD, **change})
    assert known.location is None
    assert known.odd_place == ()


@pytest.mark.parametrize(
    "change",
    [
        {2: (R(90), R(0), R(1))},
        {2: (R(200), R(0), R(0))},
        {4: (R(180), R(1), R(0))},
        {2: (R(23), R(61), R(0))},
        {2: (R(23), R(0), R(75))},
        {1: ""},
        {3: "X"},
        {1: "E", 3: "N"},
    ],
)
def test_a_place_that_makes_no_sense_is_none_and_told(change):
    """Beyond the poles, minutes beyond the hour, no hemisphere."""
    known = read(gps={**GOOD, **change})
    assert known.location is None
    assert known.odd_place == (
        "the place in its EXIF data makes no sense, or lacks its hemispheres; not used",
    )


def test_a_place_without_its_letters_is_none():
    """Half of the earth would be wrong."""
    assert read(gps={2: LAT, 4: LON}).location is None


@pytest.mark.parametrize(
    ("change", "alt", "accuracy"),
    [
        ({6: R(85, 10)}, 8.5, None),
        ({6: R(85, 10), 5: b"\x01"}, -8.5, None),
        ({6: R(85, 10), 5: b"\xff"}, None, None),
        ({6: R(0, 0)}, None, None),
        ({6: R(4294967295, 1)}, None, None),
        ({6: R(600, 1), 5: b"\x01"}, None, None),
        ({31: R(5)}, None, 5.0),
        ({31: R(0)}, None, None),
        ({31: R(4294967295, 1)}, None, None),
    ],
)
def test_a_height_and_an_error_make_sense_or_are_none(change, alt, accuracy):
    """The place stays."""
    place = there(read(gps={**GOOD, **change}).location)
    assert (place.alt, place.accuracy_metres) == (alt, accuracy)


def test_replay_says_what_it_does_not_believe(tmp_path, caplog):
    """The frame gets the time of reading, and the log the reason, once for many."""
    for i in range(4):
        data = photo({0x9003: "2000:01:01 00:00:00"}, {**GOOD, 1: ""})
        (tmp_path / f"{i}.jpg").write_bytes(data)
    camera = Folder(FolderCamera(path=tmp_path, time="exif"), InputSpec(width=8, height=8))
    frames = list(iter(camera.capture, None))
    assert [frame.recorded for frame in frames] == [False] * 4
    assert [frame.location for frame in frames] == [None] * 4
    assert caplog.text.count("2000:01:01 00:00:00, makes no sense") == 1
    assert caplog.text.count("the place in its EXIF data makes no sense") == 1
    assert caplog.text.count("the time of reading counts (1 such pictures") == 1


@pytest.mark.parametrize(
    "text", ["0001:01:01 00:00:00", "0001:01:01 00:00:01", "9999:12:31 23:59:59"]
)
@pytest.mark.parametrize("offset", ["", "+14:00", "-12:00"])
def test_the_first_and_last_year_make_no_sense_and_cost_no_picture(text, offset):
    """What programs write for "no time" lies outside the calendar in other zones."""
    known = read({0x9003: text} | ({0x9011: offset} if offset else {}))
    assert (known.width, known.time) == (16, None)
    assert known.odd_time == (f"the time in its EXIF data, {text}, makes no sense",)


@pytest.mark.parametrize("offset", ["+0600", "+06:00"])
def test_an_offset_is_read_with_and_without_its_colon(offset):
    """Both are ISO 8601."""
    known = read({0x9003: SEVEN, 0x9011: offset}, zone=None)
    assert (there(known.time).hour, known.odd_time) == (1, ())


@pytest.mark.parametrize("offset", ["+25:00", "+06:61", "6 hours", "+6"])
def test_an_offset_that_makes_no_sense_is_told(offset):
    """The configured zone is taken in its place, and not without a word."""
    known = read({0x9003: SEVEN, 0x9011: offset})
    assert there(known.time).hour == 1
    assert known.odd_time == (
        f"the zone of the time in its EXIF data, {offset}, makes no sense; not used",
    )


@pytest.mark.parametrize(("text", "hour"), [("2026:03:29 02:30:00", 1), ("2025:10:26 02:30:00", 0)])
def test_an_hour_that_is_there_twice_or_not_at_all_is_told(text, hour):
    """When clocks are changed a wall clock alone does not tell the time; an offset does."""
    berlin = ZoneInfo("Europe/Berlin")
    known = read({0x9003: text}, zone=berlin)
    assert there(known.time).hour == hour
    assert [one[:34] for one in known.odd_time] == ["clocks were changed at the time in"]
    assert read({0x9003: text, 0x9011: "+01:00"}, zone=berlin).odd_time == ()


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
@pytest.mark.parametrize("notes", [b"garbage", b"II*\0", b"MM\0*\xff\xff\xff\xff", b""])
def test_exif_data_that_cannot_be_read_cost_no_picture(tmp_path, form, notes, caplog):
    """The picture is replayed as it is decoded elsewhere; what is odd is told."""
    file = tmp_path / f"a.{form.lower()}"
    Image.new("RGB", (16, 16)).save(file, form, exif=b"Exif\0\0" + notes)
    camera = Folder(FolderCamera(path=tmp_path), InputSpec(width=16, height=16))
    frame = there(camera.capture())
    assert (frame.width, frame.location) == (16, None)
    assert ("its EXIF data cannot be read" in caplog.text) is bool(notes)
