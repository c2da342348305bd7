/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stress/later_schedule.h"

#include <stdio.h>

#include "stress/later_acts.h"

struct schedule schedule;
unsigned long long schedule_seed;

struct kind schedule_kind(bool *hurries)
{
	unsigned driver = schedule.kind % DRIVERS, rest = schedule.kind / DRIVERS;
	struct kind kind = {.threads = driver == WITH_THREADS, .waits = driver == BY_WAIT};

	kind.phase = (enum phase)(rest % PHASES);
	rest /= PHASES;
	kind.finish = (enum finish)(rest % FINISHES);
	rest /= FINISHES;
	*hurries = rest % 2 != 0;
	kind.fails = rest / 2 != 0;
	return kind;
}

/* A kind, and then an instant with its act, again and again. */
#define KIND_BITS 10
#define ACT_BITS 5
#define BITS 20

static unsigned long long number_of_schedule(void)
{
	unsigned long long number = schedule.kind;

	for (size_t i = 0; i < schedule.count; i++) {
		unsigned long long at = schedule.insertions[i].at << ACT_BITS;
		number |= (at | schedule.insertions[i].act) << (KIND_BITS + BITS * i);
	}
	return number;
}

void schedule_set(unsigned long long number)
{
	schedule.kind = (unsigned)(number % (1u << KIND_BITS)) % KINDS;
	schedule.count = 0;
	for (number >>= KIND_BITS; number != 0 && schedule.count < ACTS_MAX; number >>= BITS) {
		unsigned act = (unsigned)(number % (1u << ACT_BITS));
		schedule.insertions[schedule.count].act = act % (unsigned)later_act_count;
		schedule.insertions[schedule.count].at =
			(unsigned)(number % (1u << BITS)) >> ACT_BITS;
		schedule.count++;
	}
}

const char *schedule_in_words(void)
{
	static const char *const phases[] = {"gather", "prepare", "restart"};
	static const char *const finishes[] = {"by itself",     "before it returns", "meanwhile",
					       "by the tester", "too late",          "never"};
	static char text[400];
	bool hurries;
	struct kind kind = schedule_kind(&hurries);
	int n = snprintf(text, sizeof(text), "thread=%s%s%s, a %s that is finished %s%s",
			 kind.threads ? "yes" : "no", kind.waits ? " in wait" : "",
			 hurries ? ", in a hurry" : "", phases[kind.phase], finishes[kind.finish],
			 kind.fails ? " with an error" : "");

	for (size_t i = 0; i < schedule.count; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, ", at instant %u: %s",
			      schedule.insertions[i].at,
			      later_acts[schedule.insertions[i].act].name);
	snprintf(text + n, sizeof(text) - (size_t)n,
		 "; SAFESTART_SCHEDULE=0x%llx, SAFESTART_SEED=%llu", number_of_schedule(),
		 schedule_seed);
	return text;
}
