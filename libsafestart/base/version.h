/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SAFESTART_VERSION
#define SAFESTART_VERSION "1.0.0"
#endif
