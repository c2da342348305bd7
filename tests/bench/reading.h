/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef READING_H
#define READING_H

/* Reading from other languages, and what these languages have themselves. */
void bench_reading_elsewhere(void);

#endif
