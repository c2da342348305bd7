# SPDX-License-Identifier: LGPL-2.1-or-later
{
  "targets": [{
    "target_name": "safestart",
    "sources": ["src/addon.c", "src/handle.c", "src/node_set.c", "src/run.c"],
    "defines": ["NAPI_VERSION=8"],
    "cflags": ["-Wall", "-Wextra", "<!@(pkg-config --cflags libsafestart)"],
    "cflags_c": ["-std=gnu11"],
    "libraries": ["<!@(pkg-config --libs libsafestart)"]
  }]
}
