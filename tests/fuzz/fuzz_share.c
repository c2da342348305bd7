/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as the state of a shared lock, then the life of several processes that use it: an
 * accepted state prints as itself; every process that leaves has an outcome that covers it; no
 * process is stuck; no process enters a closed batch. */
#include "fuzz.h"
#include "lock/share.h"
#include "safestart/safestart.h"

#define PROCESSES 3

struct world {
	char open[SHARE_OPEN_SIZE], done[SHARE_DONE_SIZE];
	struct share_me me[PROCESSES];
	uint64_t fresh;
	uint64_t closed, id; /* the newest batch that was closed, of that state */
};

static uint64_t number(struct input *input)
{
	uint64_t value = 0;

	for (unsigned bytes = input_byte(input) % 9; bytes > 0; bytes--)
		value = value << 8 | input_byte(input);
	return value;
}

/* Text from the input, with a valid checksum so that it is read; or garbage as it is. */
static void fill(struct input *input, char *bytes, size_t size)
{
	size_t length = (size_t)number(input) % size,
	       taken = length < input->left ? length : input->left;
	bool sealed = input_byte(input) % 4 != 0;

	memset(bytes, 0, size);
	taken = taken < input->left ? taken : input->left;
	memcpy(bytes, input->at, taken);
	input->at += taken;
	input->left -= taken;
	for (size_t i = 0; sealed && i < taken; i++)
		bytes[i] = bytes[i] != '\0' ? bytes[i] : '0';
	if (sealed && taken + 32 < size)
		snprintf(bytes + taken, size - taken, "checksum %016llx\n",
			 (unsigned long long)share_hash(bytes, taken));
}

static void hold_printed(const struct world *world)
{
	struct share_open open, open_again;
	struct share_done done, done_again;
	char bytes[SHARE_DONE_SIZE];

	share_read_open(&open, world->open);
	if (open.id != 0) {
		share_print_open(&open, bytes);
		share_read_open(&open_again, bytes);
		HOLD(open.id == open_again.id && open.boot == open_again.boot &&
		     open.sequence == open_again.sequence && open.requests == open_again.requests &&
		     open.carried == open_again.carried && open.first == open_again.first &&
		     open.newest == open_again.newest && open.urgent == open_again.urgent);
	}
	share_read_done(&done, world->done);
	HOLD(done.count <= SHARE_KEPT && (done.id != 0 || done.count == 0));
	share_print_done(&done, bytes);
	share_read_done(&done_again, bytes);
	HOLD(done.id == done_again.id && done.count == done_again.count &&
	     done.ended == done_again.ended);
	for (size_t i = 0; i < done.count; i++) {
		const struct share_outcome *one = &done.outcomes[i], *two = &done_again.outcomes[i];
		hold_words(one->message, sizeof(one->message));
		HOLD(one->sequence == two->sequence && one->requests == two->requests &&
		     one->verdict == two->verdict && one->error == two->error);
		HOLD(one->status == two->status && one->pid == two->pid &&
		     strcmp(one->message, two->message) == 0);
	}
}

static void ends(struct world *world, struct input *input, struct share_done *done, uint64_t id,
		 uint64_t sequence, int64_t now)
{
	struct share_outcome outcome = {.sequence = sequence,
					.requests = 1,
					.verdict = input_byte(input) % 6,
					.error = -(int32_t)input_byte(input),
					.status = input_byte(input),
					.pid = 7};

	for (size_t i = 0; i < 8; i++)
		outcome.message[i] = (char)input_byte(input);
	if (done->id == id && done->count > 0 && done->outcomes[0].sequence >= sequence)
		return; /* no batch is closed twice */
	share_publish(done, id, &outcome, now);
	share_print_done(done, world->done);
}

static void step(struct world *world, struct input *input, int64_t now)
{
	const struct share_conf conf = {.debounce = (int64_t)(number(input) % 3153600000000000000),
					.max_delay = (int64_t)(number(input) % 3153600000000000000),
					.min_interval =
						(int64_t)(number(input) % 3153600000000000000)};
	struct share_me *me = &world->me[input_byte(input) % PROCESSES];
	struct share_open open;
	struct share_done done;
	uint64_t requests;

	share_read_open(&open, world->open);
	share_read_done(&done, world->done);
	me->retries = input_byte(input) % 8 == 0;
	struct share_verdict verdict = share_decide(&open, &done, me, &conf, now);
	if (verdict.action == SHARE_ENTER) {
		share_enter(&open, &done, me, input_byte(input), input_byte(input) % 4 == 0, now,
			    (world->fresh += UINT64_C(0x9e3779b97f4a7c16)));
		verdict = share_decide(&open, &done, me, &conf, now);
		HOLD(verdict.action == SHARE_WAIT || verdict.action == SHARE_LEAD);
		HOLD(me->sequence == open.sequence && me->id == open.id && me->id != 0);
		HOLD(me->id != world->id || me->sequence > world->closed);
		share_print_open(&open, world->open);
	} else if (verdict.action == SHARE_LEAVE) {
		HOLD(verdict.outcome != NULL && done.id == me->id &&
		     verdict.outcome->sequence >= me->sequence);
		HOLD(me->sequence != 0 || (me->retries && verdict.outcome->sequence > me->seen));
		me->seen = verdict.outcome->sequence;
		me->sequence = 0;
	} else if (verdict.action == SHARE_WAIT) {
		HOLD(verdict.at > now);
	} else {
		uint64_t sequence = share_close(&open, &done, &requests);
		HOLD(sequence >= me->sequence && open.sequence > sequence && open.requests == 0);
		share_print_open(&open, world->open);
		world->closed = sequence;
		world->id = open.id;
		if (input_byte(input) % 4 != 0) /* otherwise it is killed */
			ends(world, input, &done, open.id, sequence, now);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	/* Odd values: an id that cannot be guessed. */
	struct world world = {.fresh = UINT64_C(0x5851f42d4c957f2d)};
	int64_t now = 1000;

	for (size_t i = 0; i < PROCESSES; i++)
		world.me[i].boot = 77;
	fill(&input, world.open, sizeof(world.open));
	fill(&input, world.done, sizeof(world.done));
	hold_printed(&world);
	while (input.left > 0) {
		unsigned what = input_byte(&input);
		now += what % 2 == 0 ? (int64_t)(number(&input) % 1000000000000) : 0;
		if (what % 32 == 31) { /* another program damages it */
			fill(&input, what & 64 ? world.open : world.done,
			     what & 64 ? sizeof(world.open) : sizeof(world.done));
			world.id = 0;
		}
		step(&world, &input, now);
		hold_printed(&world);
	}
	return 0;
}
