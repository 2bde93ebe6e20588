"""Who the device's service runs as, read from what is installed."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from edge.system.service_user import service

SHIPPED = Path(__file__).parents[1] / "firmware-config" / "wheatear.service"
BECOME = """
import json, os, sys
from pathlib import Path
from edge.system.service_user import become_owner
name = become_owner(Path(sys.argv[1]), Path(sys.argv[2]))
print(json.dumps([name, os.geteuid(), os.getegid(), os.getgroups(), os.environ["HOME"]]))
"""


def install(root: Path, folder: str, text: str, name: str = "wheatear.service") -> None:
    """Put a file into one of systemd's folders."""
    file = root / folder / "systemd/system" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_the_shipped_service_is_read(tmp_path):
    """Its user, and the groups it is in besides."""
    install(tmp_path, "etc", SHIPPED.read_text())
    found = service(tmp_path)
    assert found["User"] == ["wheatear"]
    assert found["SupplementaryGroups"] == ["video", "plugdev"]


def test_drop_ins_change_a_service_as_systemd_has_it(tmp_path):
    """Groups add up, an empty line begins anew, of users the last counts, /etc goes before /lib."""
    install(tmp_path, "lib", "[Service]\nUser=a\nSupplementaryGroups=x\n")
    install(tmp_path, "etc", "[Service]\n# User=no\nUser = b\nSupplementaryGroups=video plugdev\n")
    drop = "wheatear.service.d/{}.conf".format
    install(tmp_path, "lib", "[Service]\nSupplementaryGroups=gone\n", drop("20"))
    install(tmp_path, "etc", "[Service]\nSupplementaryGroups=dialout\n", drop("20"))
    assert service(tmp_path)["SupplementaryGroups"] == ["video", "plugdev", "dialout"]
    install(tmp_path, "run", "[Service]\nUser=c\nSupplementaryGroups=\n", drop("30"))
    install(tmp_path, "run", "[Service]\nSupplementaryGroups=gpio\n", drop("40"))
    assert service(tmp_path) == {"User": ["c"], "SupplementaryGroups": ["gpio"]}


def test_no_service_gives_no_groups(tmp_path):
    """A device that is started by hand."""
    assert service(tmp_path) == {}


def become(folder, root):
    """Become the owner of a folder, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", BECOME, folder, root], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT ROOT: nobody else can become somebody")
def test_as_root_the_owner_of_the_state_gets_the_services_groups(tmp_path):
    """By name and by number; one that this machine does not know is left out."""
    install(tmp_path, "etc", "[Service]\nUser=root\nSupplementaryGroups=video no-such 4242\n")
    (tmp_path / "state").mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(tmp_path / "state", nobody.pw_uid, nobody.pw_gid)
    name, user, group, groups, home = become(tmp_path / "state", tmp_path)
    assert home == nobody.pw_dir
    assert (name, user, group) == ("nobody", nobody.pw_uid, nobody.pw_gid)
    assert {grp.getgrnam("video").gr_gid, 4242} <= set(groups)
    assert 0 not in groups


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT ROOT: nobody else can become somebody")
@pytest.mark.parametrize(("user", "known"), [("nobody", True), ("no-such", False)])
def test_where_there_is_no_state_yet_the_services_user_counts(tmp_path, user, known):
    """One that this machine does not know changes nothing."""
    install(tmp_path, "etc", f"[Service]\nUser={user}\n")
    found = become(tmp_path / "none", tmp_path)
    assert found[0] == (user if known else None)
    assert (found[1] == 0) is not known


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT ROOT: nobody else can become somebody")
def test_an_owner_without_a_name_is_become_by_number(tmp_path):
    """State on a card from elsewhere, or of a container."""
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 54321, 54322)
    assert become(tmp_path / "state", tmp_path)[:3] == ["54321", 54321, 54322]


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT ROOT: nobody else can become somebody")
def test_state_of_root_is_checked_as_root(tmp_path):
    """Nothing changes where root itself runs the device."""
    assert become(tmp_path, tmp_path)[:2] == [None, 0]
