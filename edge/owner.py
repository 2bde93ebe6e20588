"""Whoever checks a device as root learns what the device's own user would meet."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

SERVICE_USER, SERVICE_GROUPS = "wheatear", ("video",)
"""As in ``wheatear.service``."""


def become_owner(folder: Path) -> str | None:
    """As root, become for good the user who owns a folder of state, or whom the service runs as
    where the folder is not there yet; give the user's name, None where nothing changed.
    """
    if os.geteuid() != 0:
        return None
    user = _user(folder)
    if user is None or user.pw_uid == 0:
        return None
    groups = set(os.getgrouplist(user.pw_name, user.pw_gid))
    for name in SERVICE_GROUPS:
        try:
            groups.add(grp.getgrnam(name).gr_gid)
        except KeyError:  # no such devices here
            continue
    os.setgroups(sorted(groups))
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = user.pw_dir
    return user.pw_name


def _user(folder: Path) -> pwd.struct_passwd | None:
    try:
        uid = folder.stat().st_uid
    except OSError:
        try:
            return pwd.getpwnam(SERVICE_USER)
        except KeyError:
            return None
    try:
        return pwd.getpwuid(uid)
    except KeyError:  # of a container, or of a card from elsewhere
        return pwd.struct_passwd((str(uid), "", uid, folder.stat().st_gid, "", "/", ""))
