/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fuzz_handle with events=pull: the application takes what waits and does what its callbacks would
 * have done. */
#ifndef FUZZ_PULL_H
#define FUZZ_PULL_H

/* Take all events, unless the application is told to pause; each has to be the one that the model
 * says is due. */
void pull_take(void);

#endif
