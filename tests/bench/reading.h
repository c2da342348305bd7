/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef READING_H
#define READING_H

/* From other languages, and other languages' own. */
void bench_reading_elsewhere(void);

#endif
