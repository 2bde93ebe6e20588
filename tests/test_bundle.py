"""Writing, reading and refusing model bundles."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
import tiny

from edge.errors import (
    BundleError,
    BundleFormatError,
    BundleIntegrityError,
    BundleMembersError,
    BundleSignatureError,
    BundleTooLargeError,
)
from edge.model.bundle import unpack as limits
from edge.model.bundle.bundle import file_name, read_bundle, write_bundle
from edge.model.bundle.manifest import LabelSpec, OutputSpec, parse
from edge.model.scores import DecisionSpec


@pytest.fixture
def path(tmp_path):
    """A good bundle file."""
    return tiny.write(tmp_path / "tiny-1.0.wtr")


def contents(path) -> dict[str, bytes]:
    """All members of a bundle file, as Python's own zip reader sees them."""
    with zipfile.ZipFile(path) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def repack(path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    """Write a zip archive over the bundle."""
    with zipfile.ZipFile(path, "w", method) as zipped:
        for name, data in members.items():
            zipped.writestr(name, data)


def rewrite(path, edit) -> None:
    """Change the manifest of the bundle through ``edit``."""
    members = contents(path)
    manifest = json.loads(members["manifest.json"])
    edit(manifest)
    repack(path, members | {"manifest.json": json.dumps(manifest).encode()})


def test_what_is_written_is_read_back(path):
    """Model, goldens and manifest come back whole, with the file's hash."""
    bundle = read_bundle(path)
    assert bundle.model == tiny.model()
    assert bundle.goldens == {n: d for n, d in tiny.members().items() if n != "model.tflite"}
    assert bundle.labels == ("red", "green", "blue")
    assert bundle.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (bundle.signed, bundle.signed_by, bundle.edgetpu_model) == (False, None, None)
    assert file_name(bundle.manifest) == "tiny-1.0.wtr"


def test_same_inputs_give_the_same_bytes(path, tmp_path):
    """A bundle can be rebuilt and compared byte for byte, whatever the order of its members."""
    again = tmp_path / "again.wtr"
    write_bundle(again, tiny.manifest(), dict(reversed(tiny.members().items())))
    assert again.read_bytes() == path.read_bytes()


def test_an_edge_tpu_model_travels_along(tmp_path):
    """The optional compiled model is kept beside the plain one."""
    members = tiny.members() | {"model_edgetpu.tflite": tiny.model("tiny_edgetpu")}
    write_bundle(tmp_path / "b.wtr", tiny.manifest(), members)
    assert read_bundle(tmp_path / "b.wtr").edgetpu_model == tiny.model("tiny_edgetpu")


def test_compressible_members_are_deflated_and_read_back(tmp_path):
    """A model with many zeros becomes smaller in the bundle, and whole again."""
    members = tiny.members() | {"model.tflite": tiny.model() + bytes(100_000)}
    write_bundle(tmp_path / "b.wtr", tiny.manifest(), members)
    assert (tmp_path / "b.wtr").stat().st_size < 20_000
    assert read_bundle(tmp_path / "b.wtr").model == members["model.tflite"]


def test_a_failed_write_leaves_the_old_bundle(path):
    """A bundle that cannot be written does not touch the one that is there."""
    before = path.read_bytes()
    goldens = {name: data for name, data in tiny.members().items() if name != "model.tflite"}
    with pytest.raises(BundleMembersError, match=r"model\.tflite is missing"):
        write_bundle(path, tiny.manifest(), goldens)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all", b"PK\x03\x04" + bytes(60)])
def test_other_files_are_refused(tmp_path, data):
    """A file that is no archive is told from a damaged bundle."""
    (tmp_path / "b.wtr").write_bytes(data)
    with pytest.raises(BundleFormatError):
        read_bundle(tmp_path / "b.wtr")


def test_a_missing_file_is_named(tmp_path):
    """The message holds the path and the reason."""
    with pytest.raises(BundleFormatError, match=r"none\.wtr: No such file"):
        read_bundle(tmp_path / "none.wtr")


def test_a_cut_off_bundle_is_refused(path):
    """A download that stopped half-way is no bundle."""
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleFormatError):
        read_bundle(path)


@pytest.mark.parametrize(("before", "after"), [(b"junk", b""), (b"", b"junk")])
def test_bytes_around_the_archive_are_refused(path, before, after):
    """Nothing can hide before or behind the members."""
    path.write_bytes(before + path.read_bytes() + after)
    with pytest.raises(BundleFormatError):
        read_bundle(path)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "/etc/passwd",
        "golden/../../x.png",
        "golden\\x.png",
        "golden/a/b.png",
        "notes.txt",
        "golden/",
        "Manifest.json",
    ],
)
def test_unexpected_names_are_refused(path, name):
    """Members that no bundle has are refused by name: paths that climb, folders, extras."""
    repack(path, contents(path) | {name: b"x"})
    with pytest.raises(BundleMembersError, match="unexpected member"):
        read_bundle(path)


@pytest.mark.parametrize("name", ["manifest.json", "model.tflite", "golden/red.png"])
def test_missing_members_are_refused(path, name):
    """Every member that the manifest names must be there."""
    members = contents(path)
    del members[name]
    repack(path, members)
    with pytest.raises(BundleMembersError, match=f"{name} is missing"):
        read_bundle(path)


def test_a_golden_beyond_the_manifest_is_refused(path):
    """A picture that the manifest does not name is not carried along."""
    repack(path, contents(path) | {"golden/extra.png": b"x"})
    with pytest.raises(BundleMembersError, match="unexpected member 'golden/extra"):
        read_bundle(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_members_are_refused(path):
    """Two members of one name would let two readers see two different models."""
    with zipfile.ZipFile(path, "a") as zipped:
        zipped.writestr("model.tflite", b"another")
    with pytest.raises(BundleMembersError, match=r"two members have the name 'model\.tflite'"):
        read_bundle(path)


def test_a_changed_model_is_refused(path):
    """A model of the same size with other bytes differs in its hash."""
    model = bytearray(tiny.model())
    model[-1] ^= 1
    repack(path, contents(path) | {"model.tflite": bytes(model)})
    with pytest.raises(BundleIntegrityError, match=r"model\.tflite is not what the manifest says"):
        read_bundle(path)


def test_a_member_of_another_size_is_refused(path):
    """The message tells both sizes."""
    repack(path, contents(path) | {"model.tflite": b"short"})
    with pytest.raises(BundleIntegrityError, match="has 5 bytes; the manifest says 2376"):
        read_bundle(path)


def test_sizes_are_refused_before_anything_is_unpacked(path, monkeypatch):
    """A zip bomb that says what it is stops at the directory."""
    repack(path, contents(path) | {"model.tflite": bytes(2 << 20)}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(limits, "MAX_MEMBER_BYTES", 1 << 20)
    with pytest.raises(BundleTooLargeError, match="2097152 bytes; the limit is 1048576"):
        read_bundle(path)


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(path):
    """A zip bomb that lies about its size is cut off at that size."""
    repack(path, contents(path) | {"model.tflite": bytes(50 << 20)}, zipfile.ZIP_DEFLATED)
    true_size, said = (50 << 20).to_bytes(4, "little"), (2376).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(true_size, said))
    with pytest.raises(BundleIntegrityError, match="larger than it says"):
        read_bundle(path)


def test_too_many_members_are_refused(path):
    """The number of members is limited, whatever their size."""
    repack(path, {f"golden/{i}.png": b"" for i in range(100)})
    with pytest.raises(BundleTooLargeError, match="100 members"):
        read_bundle(path)


def test_a_huge_file_is_refused_unread(path, monkeypatch):
    """No more than the limit is read into memory."""
    monkeypatch.setattr(limits, "MAX_BUNDLE_BYTES", 1000)
    with pytest.raises(BundleTooLargeError, match="more than 1000 bytes"):
        read_bundle(path)


def test_encryption_and_other_compressions_are_refused(path):
    """Only stored and deflated members are known."""
    repack(path, contents(path), zipfile.ZIP_BZIP2)
    with pytest.raises(BundleFormatError, match="unknown compression"):
        read_bundle(path)


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_unknown_schema_versions_are_refused(path, version):
    """The version is told, and that one of the two sides needs an update."""
    rewrite(path, lambda manifest: manifest.update(schema_version=version))
    with pytest.raises(BundleFormatError, match="schema version"):
        read_bundle(path)


def add_key(manifest):
    """Add a key in a nested part."""
    manifest["input"]["flip"] = True


def one_label_twice(manifest):
    """Make two labels equal."""
    manifest["labels"][1]["id"] = "red"


def too_few_scores(manifest):
    """Take a score away."""
    manifest["goldens"][0]["scores"].pop()


def no_goldens(manifest):
    """Take every golden away."""
    manifest["goldens"] = []


def wrong_type(manifest):
    """Put a word where a number belongs."""
    manifest["labels"][2]["threshold"] = "high"


def newline_in_name(manifest):
    """End the name with a newline."""
    manifest["name"] += "\n"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (add_key, r"json: input\.flip is not known; pack"),
        (one_label_twice, "label ids must differ"),
        (too_few_scores, "2 scores for 3 labels"),
        (no_goldens, r"goldens = \[\]: it must have at least 1 entry"),
        (wrong_type, r"labels\[2\]\.threshold = 'high': it must be a number"),
        (newline_in_name, r"json: name = '.*' *: it does not have the required form"),
    ],
)
def test_wrong_manifests_are_refused_with_the_place(path, edit, message):
    """Unknown keys, wrong types and contradictions name where they stand."""
    rewrite(path, edit)
    with pytest.raises(BundleFormatError, match=message):
        read_bundle(path)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 5000])
def test_a_manifest_that_is_no_object_is_refused(path, text):
    """Broken JSON of any kind is a format error."""
    repack(path, contents(path) | {"manifest.json": text})
    with pytest.raises(BundleFormatError):
        read_bundle(path)


def test_calibration_needs_logits(tmp_path):
    """A temperature cannot be applied to probabilities, and such a bundle is not written."""
    output = OutputSpec(kind="probabilities", dtype="int8", scale=1 / 256, zero_point=-128)
    with pytest.raises(ValueError, match="need an output of kind logits"):
        tiny.write(tmp_path / "b.wtr", output=output, decision=DecisionSpec(temperature=2))


def test_labels_need_text(path):
    """An empty label id is refused."""
    rewrite(path, lambda manifest: manifest["labels"][0].update(id=""))
    with pytest.raises(
        BundleError, match=r"labels\[0\]\.id = '': it must have at least 1 character"
    ):
        read_bundle(path)
    assert LabelSpec(id="x", name="X").threshold == 0


class TestSigning:
    """Ed25519 signatures over manifest.json."""

    @pytest.fixture
    def keys(self, tmp_path):
        """(private key, public key, other public key)."""
        pytest.importorskip("cryptography")
        from edge.model.bundle import signing

        pairs = []
        for name in ("mine", "other"):
            public = signing.generate(tmp_path / name, tmp_path / f"{name}.pub")
            pairs.append((signing.load_private_key(tmp_path / name), public))
        return pairs[0][0], pairs[0][1], pairs[1][1]

    @pytest.fixture
    def signed(self, tmp_path, keys):
        """A signed bundle file."""
        path = tmp_path / "signed.wtr"
        write_bundle(path, tiny.manifest(), tiny.members(), keys[0])
        return path

    def test_a_trusted_signature_is_told(self, signed, keys):
        """The fingerprint of the key that signed is in the result."""
        bundle = read_bundle(signed, [keys[2], keys[1]])
        assert bundle.signed_by == keys[1].fingerprint

    def test_without_keys_a_signature_is_not_verified(self, signed):
        """A present signature alone is no proof, and is not told as one."""
        bundle = read_bundle(signed)
        assert (bundle.signed, bundle.signed_by) == (True, None)

    def test_an_unsigned_bundle_is_refused_where_keys_are_trusted(self, path, keys):
        """The message names the trusted key."""
        with pytest.raises(BundleSignatureError, match=f"not signed.*{keys[1].fingerprint}"):
            read_bundle(path, [keys[1]])

    def test_another_keys_signature_is_refused(self, signed, keys):
        """A good signature by a stranger is none."""
        with pytest.raises(BundleSignatureError, match="wrong, or made with another key"):
            read_bundle(signed, [keys[2]])

    def test_a_changed_manifest_is_refused(self, signed, keys):
        """Changing a threshold breaks the signature, before the manifest is believed."""
        rewrite(signed, lambda manifest: manifest["labels"][0].update(threshold=0.5))
        with pytest.raises(BundleSignatureError):
            read_bundle(signed, [keys[1]])

    @pytest.mark.parametrize("signature", [b"", b"x" * 63, b"x" * 64, b"x" * 100])
    def test_broken_signatures_are_refused(self, signed, keys, signature):
        """A signature of any wrong length or content is refused."""
        repack(signed, contents(signed) | {"manifest.sig": signature})
        with pytest.raises(BundleSignatureError):
            read_bundle(signed, [keys[1]])


def test_the_documented_manifest_is_one():
    """The example in docs/bundle.md is read without complaint."""
    page = Path(__file__).parent.parent / "docs" / "bundle.md"
    if not page.exists():
        pytest.skip("the documentation is not here")
    example = page.read_text().partition("<!-- example")[2].partition("```json\n")[2]
    manifest = parse(example.partition("```")[0].encode())
    assert manifest.name == "jute-pests"
    assert set(manifest.files) == {"model.tflite", *(g.file for g in manifest.goldens)}
