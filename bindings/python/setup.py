# SPDX-License-Identifier: LGPL-2.1-or-later
"""The extension: what pyproject.toml cannot say is where pkg-config finds the library."""

import os
import shlex
import subprocess

from setuptools import Extension, setup

PKG_CONFIG = os.environ.get("PKG_CONFIG", "pkg-config")


def pkg_config(*what):
    try:
        return shlex.split(subprocess.run([PKG_CONFIG, *what, "libsafestart"], stdout=subprocess.PIPE, text=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"libsafestart was not found by {PKG_CONFIG} ({error}): install the library and its header first, "
            "or set PKG_CONFIG_PATH to the folder of libsafestart.pc"
        ) from None


setup(
    license="LGPL-2.1-or-later",  # here, because setuptools of different ages want it written differently in pyproject.toml
    ext_modules=[
        Extension(
            "safestart._native",
            [f"src/safestart/native/{name}.c" for name in ("module", "core", "run", "nodes")],
            depends=["src/safestart/native/module.h"],
            extra_compile_args=["-std=gnu11", "-fvisibility=hidden", *pkg_config("--cflags")],
            extra_link_args=pkg_config("--libs"),
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp39"}},
)
