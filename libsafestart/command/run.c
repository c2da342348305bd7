/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run: not built yet. */
#include "command.h"

int command_run(int argc, char **argv)
{
	(void)argc, (void)argv;
	return say(125, "this version has no `run` yet");
}

const struct verb verb_run = {.name = "run", .main = command_run, .help = "run a command: never twice at a time, once for all who ask together", .arguments = "[OPTION...] -- COMMAND..."};
