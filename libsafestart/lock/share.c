/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/share.h"

#include <stdio.h>
#include <string.h>

#include "base/message.h"
#include "request/ticket.h"

/* ---- What to do ---- */

static int64_t later(int64_t time, int64_t delay)
{
	return time > INT64_MAX - delay ? INT64_MAX : time + delay;
}

static bool is_known(const struct share_open *open, const struct share_done *done)
{
	return done->id != 0 && done->id == open->id && done->count > 0;
}

/* Is it the state of a system that is still up, and does it make sense? */
static bool is_sound(const struct share_open *open, const struct share_done *done, uint64_t boot)
{
	return open->id != 0 && (open->boot == boot || open->boot == 0 || boot == 0) &&
	       open->sequence > 0 &&
	       !(is_known(open, done) && done->outcomes[0].sequence >= open->sequence);
}

/* When the open batch has been quiet, or open, for long enough. A time to come is another clock's
 * (a time namespace), and past. */
static int64_t window_end(const struct share_open *open, const struct share_conf *conf, int64_t now)
{
	int64_t quiet = open->newest <= now ? later(open->newest, conf->debounce) : INT64_MIN;
	int64_t longest = open->first <= now ? later(open->first, conf->max_delay) : INT64_MIN;

	if (open->urgent)
		return INT64_MIN;
	return quiet < longest ? quiet : longest;
}

static int64_t earliest(const struct share_open *open, const struct share_done *done,
			const struct share_conf *conf, int64_t now)
{
	return is_known(open, done) && done->ended <= now ? later(done->ended, conf->min_interval)
							  : INT64_MIN;
}

struct share_verdict share_decide(const struct share_open *open, const struct share_done *done,
				  const struct share_me *me, const struct share_conf *conf,
				  int64_t now)
{
	struct share_verdict verdict = {.action = SHARE_ENTER};

	if (me->sequence != 0 && done->id == me->id) {
		/* The first run that covered it, or the first that is still known: it began after
		 * the batch was closed, too. */
		for (size_t i = 0; i < done->count && done->outcomes[i].sequence >= me->sequence;
		     i++) {
			verdict.action = SHARE_LEAVE;
			verdict.outcome = &done->outcomes[i];
		}
		if (verdict.action == SHARE_LEAVE)
			return verdict;
	}
	if (me->sequence == 0 && me->retries && done->id == me->id && done->count > 0 &&
	    done->outcomes[0].sequence > me->seen)
		return (struct share_verdict){.action = SHARE_LEAVE, .outcome = &done->outcomes[0]};
	if (me->sequence == 0 || !is_sound(open, done, me->boot) || open->id != me->id ||
	    me->sequence > open->sequence)
		return verdict;
	verdict.action = SHARE_LEAD;
	verdict.at = earliest(open, done, conf, now);
	if (me->sequence == open->sequence) {
		int64_t end = window_end(open, conf, now);
		verdict.at = end > verdict.at ? end : verdict.at;
	}
	if (verdict.at > now)
		verdict.action = SHARE_WAIT;
	return verdict;
}

void share_enter(struct share_open *open, const struct share_done *done, struct share_me *me,
		 uint64_t requests, bool urgent, int64_t now, uint64_t fresh)
{
	if (!is_sound(open, done, me->boot) ||
	    (me->id == open->id && me->sequence > open->sequence))
		*open = (struct share_open){.id = fresh, .boot = me->boot, .sequence = 1};
	if (me->sequence == 0)
		me->since = now;
	if (open->requests == 0 || open->first == 0)
		open->first = now;
	/* Where it is lost again and again, as by two kernels over one file, who waits must not
	 * begin to wait anew each time. */
	if (me->since < open->first)
		open->first = me->since;
	open->newest = now;
	open->requests += requests;
	open->urgent = open->urgent || urgent;
	me->id = open->id;
	me->sequence = open->sequence;
}

uint64_t share_close(struct share_open *open, const struct share_done *done, uint64_t *requests)
{
	bool answered = open->sequence == 1 ||
			(is_known(open, done) && done->outcomes[0].sequence == open->sequence - 1);

	open->carried = (answered ? 0 : open->carried) + open->requests;
	*requests = open->carried;
	open->requests = 0;
	open->first = open->newest = 0;
	open->urgent = false;
	return open->sequence++;
}

void share_publish(struct share_done *done, uint64_t id, const struct share_outcome *outcome,
		   int64_t now)
{
	if (done->id != id) {
		done->id = id;
		done->count = 0;
	}
	if (done->count == SHARE_KEPT)
		done->count--;
	memmove(done->outcomes + 1, done->outcomes, done->count * sizeof(done->outcomes[0]));
	done->outcomes[0] = *outcome;
	done->count++;
	done->ended = now;
}

/* ---- Bytes ---- */

uint64_t share_hash(const char *bytes, size_t size)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* The text comes first, so that a person sees it; its checksum ends it, NUL bytes fill up. */
#define SEAL "checksum "
#define SEAL_SIZE (sizeof(SEAL) - 1 + 16 + 1)

static void seal(char *bytes, size_t length, size_t size)
{
	length += (size_t)snprintf(bytes + length, size - length, SEAL "%016llx\n",
				   (unsigned long long)share_hash(bytes, length));
	memset(bytes + length, 0, size - length);
}

/* The text without its seal, in a buffer of the same size; false: it is not what was written. */
static bool unseal(char *text, const char *bytes, size_t size)
{
	char sealed[SEAL_SIZE + 1];
	size_t length = strnlen(bytes, size);

	if (length == size || length < SEAL_SIZE)
		return false;
	length -= SEAL_SIZE;
	snprintf(sealed, sizeof(sealed), SEAL "%016llx\n",
		 (unsigned long long)share_hash(bytes, length));
	if (memcmp(bytes + length, sealed, SEAL_SIZE) != 0)
		return false;
	memcpy(text, bytes, length);
	text[length] = '\0';
	return true;
}

/* One after another from a text; once something is not there, nothing more is. */
struct cursor {
	const char *at;
	bool failed;
};

static void take_word(struct cursor *cursor, const char *word)
{
	size_t length = strlen(word);

	if (cursor->failed || strncmp(cursor->at, word, length) != 0)
		cursor->failed = true;
	else
		cursor->at += length;
}

static int digit_of(char character)
{
	return character >= '0' && character <= '9'   ? character - '0'
	       : character >= 'a' && character <= 'f' ? character - 'a' + 10
						      : 16;
}

/* Digits of that base, at most `most`. */
static uint64_t take_number(struct cursor *cursor, unsigned base, uint64_t most)
{
	uint64_t number = 0, digit;
	const char *start = cursor->at;

	for (; !cursor->failed && (digit = (uint64_t)digit_of(*cursor->at)) < base; cursor->at++) {
		if (number > (most - digit) / base)
			cursor->failed = true;
		number = number * base + digit;
	}
	cursor->failed = cursor->failed || cursor->at == start;
	return number;
}

static int64_t take_time(struct cursor *cursor, const char *word)
{
	take_word(cursor, word);
	return (int64_t)take_number(cursor, 10, INT64_MAX);
}

static uint64_t take_count(struct cursor *cursor, const char *word)
{
	take_word(cursor, word);
	return take_number(cursor, 10, INT64_MAX); /* so that adding to it has room */
}

static int32_t take_signed(struct cursor *cursor, const char *word)
{
	take_word(cursor, word);
	bool negative = !cursor->failed && *cursor->at == '-';
	cursor->at += negative;
	int32_t number = (int32_t)take_number(cursor, 10, INT32_MAX);
	return negative ? -number : number;
}

void share_print_open(const struct share_open *open, char bytes[SHARE_OPEN_SIZE])
{
	int length =
		snprintf(bytes, SHARE_OPEN_SIZE,
			 "\nbatch %llu: %llu requests, first at %lld, newest at %lld, urgent %d, "
			 "%llu carried\nstate %llx of boot %llx\n",
			 (unsigned long long)open->sequence, (unsigned long long)open->requests,
			 (long long)open->first, (long long)open->newest, open->urgent,
			 (unsigned long long)open->carried, (unsigned long long)open->id,
			 (unsigned long long)open->boot);

	seal(bytes, (size_t)length, SHARE_OPEN_SIZE);
}

void share_read_open(struct share_open *open, const char bytes[SHARE_OPEN_SIZE])
{
	char text[SHARE_OPEN_SIZE];
	struct cursor cursor = {.at = text};

	*open = (struct share_open){0};
	if (!unseal(text, bytes, SHARE_OPEN_SIZE))
		return;
	open->sequence = take_count(&cursor, "\nbatch ");
	open->requests = take_count(&cursor, ": ");
	open->first = take_time(&cursor, " requests, first at ");
	open->newest = take_time(&cursor, ", newest at ");
	open->urgent = take_count(&cursor, ", urgent ") != 0;
	open->carried = take_count(&cursor, ", ");
	take_word(&cursor, " carried\nstate ");
	open->id = take_number(&cursor, 16, UINT64_MAX);
	take_word(&cursor, " of boot ");
	open->boot = take_number(&cursor, 16, UINT64_MAX);
	take_word(&cursor, "\n");
	if (cursor.failed || *cursor.at != '\0')
		*open = (struct share_open){0};
}

static size_t print_outcome(const struct share_outcome *outcome, char *line, size_t size)
{
	return (size_t)snprintf(line, size,
				"%llu %s: error %d, status %d, %llu requests, by pid %d: %s\n",
				(unsigned long long)outcome->sequence,
				ticket_verdict_name(outcome->verdict), (int)outcome->error,
				(int)outcome->status, (unsigned long long)outcome->requests,
				(int)outcome->pid, outcome->message);
}

void share_print_done(struct share_done *done, char bytes[SHARE_DONE_SIZE])
{
	char line[512];
	size_t length = (size_t)snprintf(bytes, SHARE_DONE_SIZE,
					 "\nstate %llx, the last run ended at %lld\n",
					 (unsigned long long)done->id, (long long)done->ended);

	for (size_t i = 0; i < done->count; i++) {
		message_clean(done->outcomes[i].message);
		size_t more = print_outcome(&done->outcomes[i], line, sizeof(line));
		if (length + more + SEAL_SIZE + 1 > SHARE_DONE_SIZE)
			done->count = i;
		else
			memcpy(bytes + length, line, more + 1);
		length += i < done->count ? more : 0;
	}
	seal(bytes, length, SHARE_DONE_SIZE);
}

static int32_t take_verdict(struct cursor *cursor)
{
	for (int verdict = SAFESTART_APPLIED; !cursor->failed && verdict <= SAFESTART_CANCELLED;
	     verdict++) {
		const char *name = ticket_verdict_name(verdict);
		if (strncmp(cursor->at, name, strlen(name)) == 0) {
			cursor->at += strlen(name);
			return verdict;
		}
	}
	cursor->failed = true;
	return SAFESTART_PENDING;
}

static void take_message(struct cursor *cursor, char *message, size_t size)
{
	size_t length = strcspn(cursor->at, "\n");

	if (cursor->failed || length >= size) {
		cursor->failed = true;
		return;
	}
	memcpy(message, cursor->at, length);
	message[length] = '\0';
	cursor->at += length;
	take_word(cursor, "\n");
	message_clean(message);
}

static void take_outcome(struct cursor *cursor, struct share_outcome *outcome)
{
	outcome->sequence = take_count(cursor, "");
	take_word(cursor, " ");
	outcome->verdict = take_verdict(cursor);
	outcome->error = take_signed(cursor, ": error ");
	outcome->status = take_signed(cursor, ", status ");
	outcome->requests = take_count(cursor, ", ");
	outcome->pid = take_signed(cursor, " requests, by pid ");
	take_word(cursor, ": ");
	take_message(cursor, outcome->message, sizeof(outcome->message));
}

void share_read_done(struct share_done *done, const char bytes[SHARE_DONE_SIZE])
{
	char text[SHARE_DONE_SIZE];
	struct cursor cursor = {.at = text};

	memset(done, 0, offsetof(struct share_done, outcomes));
	if (!unseal(text, bytes, SHARE_DONE_SIZE))
		return;
	take_word(&cursor, "\nstate ");
	done->id = take_number(&cursor, 16, UINT64_MAX);
	done->ended = take_time(&cursor, ", the last run ended at ");
	take_word(&cursor, "\n");
	for (size_t i = 0; !cursor.failed && *cursor.at != '\0'; i++) {
		if (i == SHARE_KEPT) {
			cursor.failed = true;
			break;
		}
		take_outcome(&cursor, &done->outcomes[i]);
		/* Each older than the one before. */
		cursor.failed = cursor.failed || (i > 0 && done->outcomes[i].sequence >=
								   done->outcomes[i - 1].sequence);
		done->count = i + 1;
	}
	if (cursor.failed)
		memset(done, 0, offsetof(struct share_done, outcomes));
}
