/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What fuzz_handle's program does to the desired set, and the documents it writes. */
#ifndef FUZZ_DESIRED_H
#define FUZZ_DESIRED_H

#include "application.h"
#include "fuzz.h"

/* A document of `count` entries, a byte each, and the same as the model sees it. Returns how many
 * targets it has. */
int desired_write(struct input *input, int count, struct model_set *set, char *text, size_t size);

/* Operations, compared with the model. */
void desired_replace(struct input *input);
void desired_replace_malformed(struct input *input);
void desired_announce(struct input *input);
void desired_withdraw(struct input *input);

#endif
