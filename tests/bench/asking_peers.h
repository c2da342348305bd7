/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef ASKING_PEERS_H
#define ASKING_PEERS_H

void peers_empty(const void *argument);

#endif
