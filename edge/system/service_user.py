"""Whoever checks a device as root learns what the device's own user would meet."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from pathlib import Path

UNIT = "wheatear.service"
_UNIT_FOLDERS = (
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
"""Where systemd looks, what comes first counts: systemd.unit(5)."""


def become_owner(folder: Path, root: Path = Path("/")) -> str | None:
    """As root, become for good the user who owns a folder of state, or whom the service runs as
    where the folder is not there yet, with the service's further groups; give the user's name, None
    where nothing changed. The service is what stands in systemd's folders below `root`.
    """
    if os.geteuid() != 0:
        return None
    unit = service(root)
    user = _user(folder, unit.get("User", []))
    if user is None or user.pw_uid == 0:
        return None
    groups = set(os.getgrouplist(user.pw_name, user.pw_gid))
    for name in unit.get("SupplementaryGroups", []):
        with contextlib.suppress(KeyError):  # no such devices here
            groups.add(int(name) if name.isdigit() else grp.getgrnam(name).gr_gid)
    os.setgroups(sorted(groups))
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = user.pw_dir
    return user.pw_name


def service(root: Path = Path("/")) -> dict[str, list[str]]:
    """The words of each setting of the installed service, its drop-ins included; empty where
    none is installed, or its files cannot be read.

    As systemd does: an empty value forgets those before, groups add up, of users the last counts.
    """
    folders = [root / one for one in _UNIT_FOLDERS]
    units = [one / UNIT for one in folders if (one / UNIT).is_file()][:1]
    dropped = {
        file.name: file for one in reversed(folders) for file in one.glob(f"{UNIT}.d/*.conf")
    }
    found: dict[str, list[str]] = {}
    for file in [*units, *(dropped[name] for name in sorted(dropped))]:
        with contextlib.suppress(OSError):
            for line in file.read_text("utf-8", errors="replace").splitlines():
                name, is_setting, value = line.strip().partition("=")
                if not is_setting or name.startswith(("#", ";")):
                    continue
                before = found.get(name.strip(), [])
                adds = name.strip() == "SupplementaryGroups" and value.strip()
                found[name.strip()] = [*(before if adds else ()), *value.split()]
    return found


def _user(folder: Path, names: list[str]) -> pwd.struct_passwd | None:
    try:
        found = folder.stat()
    except OSError:
        try:
            return pwd.getpwnam(names[0]) if names else None
        except KeyError:
            return None
    try:
        return pwd.getpwuid(found.st_uid)
    except KeyError:  # of a container, or of a card from elsewhere
        return pwd.struct_passwd((str(found.st_uid), "", found.st_uid, found.st_gid, "", "/", ""))
