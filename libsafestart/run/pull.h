/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pull: with events=pull these stand in for the application's callbacks, and leave it letters
 * instead. */
#ifndef SAFESTART_RUN_PULL_H
#define SAFESTART_RUN_PULL_H

#include "handle.h"

/* Of a handle that has a mailbox and is being opened. */
void pull_take_callbacks(struct safestart *ss);

/* The run ends without data that it was given: the letter of COMMITTED, which never comes then,
 * says so. */
void pull_retire_stray(struct safestart_run *run);

#endif
