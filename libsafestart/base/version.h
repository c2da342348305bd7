/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* version: for the program and the library alike; the build says which. */
#ifndef SAFESTART_VERSION
#define SAFESTART_VERSION "1.0.0"
#endif
