/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How fuzz_handle's handle is opened. */
#ifndef FUZZ_SETTINGS_H
#define FUZZ_SETTINGS_H

#include "fuzz.h"

/* Two bytes of settings, and what last_good has. model.pull has been set. */
void settings_open(struct input *input);

#endif
