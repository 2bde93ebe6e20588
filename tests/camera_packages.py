"""python3-picamera2 as a Debian package, with one thing of the real one: a module built for NumPy.

The real packages are Raspberry Pi OS's own. Theirs brings simplejpeg, which is built against the
system's NumPy and cannot be imported beside another major version; so is the module here, by the
same compiler and headers. The camera is red.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_ABI = """#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <Python.h>
#include <numpy/arrayobject.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "simplejpeg", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_simplejpeg(void) { import_array(); return PyModule_Create(&module); }
"""
_LIBCAMERA = """from types import SimpleNamespace
def Transform(hflip, vflip): return (hflip, vflip)
ColorSpace = SimpleNamespace(Sycc=lambda: "sycc")
controls = SimpleNamespace(AfModeEnum=SimpleNamespace(Manual=0, Continuous=2))
"""
_PICAMERA2 = '''import time
from types import SimpleNamespace
import numpy as np
import libcamera, simplejpeg
class Picamera2:
    """A camera that takes red frames."""
    def __init__(self, index): self.camera_controls = {}
    def create_video_configuration(self, **config): return config
    def configure(self, config): self.config = config
    def camera_configuration(self): return self.config
    def start(self): pass
    def close(self): pass
    def release(self): pass
    def capture_request(self, wait, signal_function):
        job = SimpleNamespace(get_result=lambda: self)
        signal_function(job)
        return job
    def get_metadata(self): return {"SensorTimestamp": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}
    def make_array(self, name):
        width, height = self.config[name]["size"]
        if name == "main":
            return np.full((height, width, 3), (220, 40, 30), np.uint8)
        planes = np.full((height * 3 // 2, width), 90, np.uint8)  # red in BT.601, full range
        planes[:height], planes[height * 5 // 4 :] = 93, 218
        return planes
'''
_CONTROL = """Package: python3-picamera2
Version: 0.3.99
Architecture: all
Maintainer: tests
Depends: python3-numpy
Description: a red camera
"""
BUILD = """apt-get install -y -qq --no-install-recommends python3-numpy python3-dev gcc >/dev/null
cd /srv/walk/deb/usr/lib/python3/dist-packages
headers=$(/usr/bin/python3 -c 'import numpy; print(numpy.get_include())')
includes="-I$headers $(/usr/bin/python3-config --includes)"
gcc -shared -fPIC -O1 $includes /srv/walk/abi.c -o simplejpeg.so
cd /srv/walk
dpkg-deb --root-owner-group --build deb repo/python3-picamera2_0.3.99_all.deb >/dev/null
"""


def write_sources(walk: Path) -> None:
    """Lay out what :data:`BUILD`, run in the container, makes a package of."""
    packages = walk / "deb" / "usr" / "lib" / "python3" / "dist-packages"
    packages.mkdir(parents=True)
    (walk / "repo").mkdir()
    (walk / "deb" / "DEBIAN").mkdir()
    (walk / "deb" / "DEBIAN" / "control").write_text(_CONTROL)
    (walk / "abi.c").write_text(_ABI)
    (packages / "libcamera.py").write_text(_LIBCAMERA)
    (packages / "picamera2.py").write_text(_PICAMERA2)


def write_index(walk: Path, etc: Path) -> None:
    """Make the built package one that ``apt install`` finds."""
    (deb,) = (walk / "repo").glob("*.deb")
    data = deb.read_bytes()
    (walk / "repo" / "Packages").write_text(
        f"{_CONTROL}Filename: ./{deb.name}\nSize: {len(data)}\n"
        f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
    )
    lists = etc / "apt" / "sources.list.d"
    (lists / "cameras.list").write_text("deb [trusted=yes] file:/srv/walk/repo ./\n")
