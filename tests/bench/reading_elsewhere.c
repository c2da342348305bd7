/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading from Python and Node, and Go's own way to read: separate programs, each of which
 * prints one figure. A program that cannot run on this machine is skipped, with a message. */
#include "bench.h"
#include "reading.h"

#include <stdio.h>
#include <stdlib.h>

/* The figure that a program prints; negative: it cannot run here. */
static double printed(const void *argument)
{
	FILE *output = popen(argument, "re");
	double figure;

	if (output == NULL)
		return -1;
	int found = fscanf(output, "%lf", &figure);
	return pclose(output) == 0 && found == 1 ? figure : -1;
}

static void from(const char *language, const char *program, const char *missing)
{
	static const char *const names[] = {"an empty call", "cached by generation",
					    "snapshot_json each time"};
	static const char *const modes[] = {"empty", "cached", "json"};
	char commands[3][1024], text[128];
	struct way ways[3];

	for (int i = 0; i < 3; i++) {
		snprintf(commands[i], sizeof(commands[i]), "%s '%s' '%s' %s 2>/dev/null", program,
			 BENCH_LIBRARY, BENCH_PEERS, modes[i]);
		ways[i] = (struct way){names[i], printed, commands[i], {0}};
	}
	snprintf(text, sizeof(text), "from %s, ten nodes", language);
	if (printed(commands[0]) < 0) {
		bench_skipped(text, missing);
		return;
	}
	bench_ways(ways, 3);
	snprintf(text, sizeof(text), "from %s, ten nodes: the generation compared, a cache used",
		 language);
	bench_at_most(text, &ways[1], &ways[0], 0);
	bench_at_least(text, &ways[2], &ways[1], 0);
}

static void go(void)
{
#ifdef BENCH_GO
	static const char *const commands[] = {BENCH_GO " 1", BENCH_GO " 2"};

	for (int i = 0; i < 2; i++) {
		struct way way = {"go", printed, commands[i], {0}};
		bench_ways(&way, 1);
		bench_figure(i == 0 ? "Go's atomic.Pointer, load and use, inlined; 1 thread"
				    : "the same; 2 threads",
			     bench_median(&way), "ns");
	}
#else
	bench_skipped("Go's atomic.Pointer", "there is no go here (Debian: golang)");
#endif
}

void bench_reading_elsewhere(void)
{
	from("Python, by ctypes", "python3 " BENCH_SOURCE "/peer_python.py",
	     "there is no python3 here");
	from("Node, by koffi", "node " BENCH_SOURCE "/peer_node.js",
	     "node or koffi is not installed (npm install koffi; NODE_PATH)");
	go();
}
