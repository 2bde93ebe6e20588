"""Text files as editors and shells write them: byte order marks, UTF-16, CR LF."""

from __future__ import annotations

import pytest

from edge.config import load_config
from edge.config.section import first_line
from edge.errors import ConfigError
from edge.text.encodings import text_of

CONFIG = """[device]
id = "cam-a"
[model]
bundle = "m.wtr"
[camera]
kind = "folder"
path = "photos"
[broker]
host = "localhost"
"""
WRITERS = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "Notepad": lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
    "PowerShell": lambda text: b"\xff\xfe" + text.replace("\n", "\r\n").encode("utf-16-le"),
    "UTF-16, big endian": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "old Mac": lambda text: text.replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_configuration_and_secrets_are_read_however_they_were_saved(tmp_path, writer):
    """Marks and line ends are no part of them; blanks of a secret are."""
    (tmp_path / "config.toml").write_bytes(WRITERS[writer](CONFIG))
    assert load_config(tmp_path / "config.toml").device.id == "cam-a"
    (tmp_path / "password").write_bytes(WRITERS[writer](" sécret \nmore\n"))
    assert first_line(tmp_path / "password", "broker.password_file") == " sécret "


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (CONFIG.encode("utf-16-le"), "it holds zero bytes: UTF-16 without a byte order mark"),
        (CONFIG.encode() + b"\0", "it holds zero bytes"),
        (b"\xff\xfea\0\0\0", "it holds NUL characters"),
        (b"caf\xe9", r"byte 4 \(e9\) is not UTF-8; save it as UTF-8"),
        (b"\xff\xfea", r"is not UTF-16; save it as UTF-8"),
    ],
)
def test_what_is_no_text_is_named_with_the_cure(tmp_path, data, message):
    """For a configuration and for a secret, with the file's name."""
    file = tmp_path / "file"
    file.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        text_of(data)
    with pytest.raises(ConfigError, match=f"{file} is not a TOML file: .*{message}"):
        load_config(file)
    with pytest.raises(
        ConfigError, match=rf"broker.password_file: cannot read {file} \(.*{message}"
    ):
        first_line(file, "broker.password_file")
