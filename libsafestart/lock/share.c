/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock/share: the decisions behind share.h, then the bytes. Dispatching thread; no system call, no
 * clock. What was read from the file may be anything: only what this process makes of it is an
 * invariant. */
#include "lock/share.h"

#include <stdio.h>
#include <string.h>

#include "base/invariant.h"
#include "base/message.h"
#include "request/ticket.h"

/* A process in a batch knows the batch's state. */
static inline __attribute__((unused)) bool me_holds(const struct share_me *me)
{
	return me->sequence == 0 || me->id != 0;
}

/* Reading makes sure of this as well. */
static inline __attribute__((unused)) bool done_holds(const struct share_done *done)
{
	for (size_t i = 1; i < done->count && i < SHARE_KEPT; i++) {
		if (done->outcomes[i].sequence >= done->outcomes[i - 1].sequence)
			return false;
	}
	return done->count <= SHARE_KEPT && done->ended >= 0;
}

/* ---- What to do ---- */

/* Saturates: a sum must not wrap around into the past. */
static int64_t later(int64_t time, int64_t delay)
{
	invariant(delay >= 0);
	return time > INT64_MAX - delay ? INT64_MAX : time + delay;
}

/* Is there an outcome of this state? */
static bool has_outcome(const struct share_open *open, const struct share_done *done)
{
	return done->id != 0 && done->id == open->id && done->count > 0;
}

/* Does the state make sense, and is it of this boot, as far as that is known? */
static bool is_sound(const struct share_open *open, const struct share_done *done, uint64_t boot)
{
	return open->id != 0 && (open->boot == boot || open->boot == 0 || boot == 0) &&
	       open->sequence > 0 &&
	       !(has_outcome(open, done) && done->outcomes[0].sequence >= open->sequence);
}

/* When the open batch has been quiet, or open, for long enough. [P4] A time in the future is of
 * another clock (a time namespace) and counts as past, so that it delays nothing. [P8] */
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
	return has_outcome(open, done) && done->ended <= now
		       ? later(done->ended, conf->min_interval)
		       : INT64_MIN;
}

/* The outcome this process may leave with; NULL: none yet. */
static const struct share_outcome *find_outcome(const struct share_done *done,
						const struct share_me *me)
{
	const struct share_outcome *found = NULL;

	if (done->id != me->id)
		return NULL;
	if (me->sequence == 0)
		return me->retries && done->count > 0 && done->outcomes[0].sequence > me->seen
			       ? &done->outcomes[0]
			       : NULL;
	/* The first run that covered its batch, or the first one still kept: that one began after
	 * the batch was closed, too. [P6] */
	for (size_t i = 0; i < done->count && done->outcomes[i].sequence >= me->sequence; i++)
		found = &done->outcomes[i];
	return found;
}

struct share_verdict share_decide(const struct share_open *open, const struct share_done *done,
				  const struct share_me *me, const struct share_conf *conf,
				  int64_t now)
{
	struct share_verdict verdict = {.action = SHARE_ENTER};

	invariant(me_holds(me));
	invariant(done_holds(done));
	verdict.outcome = find_outcome(done, me);
	if (verdict.outcome != NULL) {
		invariant(verdict.outcome->sequence >= me->sequence);
		verdict.action = SHARE_LEAVE;
		return verdict;
	}
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
	/* In the open batch, or in a closed one whose leader died. */
	invariant(me->id == open->id);
	invariant(me->sequence > 0);
	invariant(me->sequence <= open->sequence);
	return verdict;
}

void share_enter(struct share_open *open, const struct share_done *done, struct share_me *me,
		 uint64_t requests, bool urgent, int64_t now, uint64_t new_id)
{
	invariant(new_id != 0);
	invariant(me_holds(me));
	if (!is_sound(open, done, me->boot) ||
	    (me->id == open->id && me->sequence > open->sequence))
		*open = (struct share_open){.id = new_id, .boot = me->boot, .sequence = 1};
	if (me->sequence == 0)
		me->since = now;
	invariant(me->since <= now);
	if (open->requests == 0 || open->first == 0)
		open->first = now;
	/* When the state is lost again and again, for example by two kernels that share one file, a
	 * process must not start to wait from the beginning each time. [P4] */
	if (me->since < open->first)
		open->first = me->since;
	open->newest = now;
	open->requests += requests;
	open->urgent = open->urgent || urgent;
	me->id = open->id;
	me->sequence = open->sequence;
	invariant(me_holds(me));
	invariant(me->sequence > 0);
	invariant(open->first <= open->newest);
	invariant(open->requests >= requests);
}

uint64_t share_close(struct share_open *open, const struct share_done *done, uint64_t *requests)
{
	/* The decision to lead had a state that makes sense. */
	invariant(open->id != 0);
	invariant(open->sequence > 0);
	invariant(done_holds(done));
	bool answered = open->sequence == 1 || (has_outcome(open, done) &&
						done->outcomes[0].sequence == open->sequence - 1);

	open->carried = (answered ? 0 : open->carried) + open->requests;
	*requests = open->carried;
	open->requests = 0;
	open->first = open->newest = 0;
	open->urgent = false;
	uint64_t closed = open->sequence++;
	invariant(open->sequence == closed + 1); /* never the same batch twice [P2] */
	return closed;
}

void share_publish(struct share_done *done, uint64_t id, const struct share_outcome *outcome,
		   int64_t now)
{
	invariant(id != 0);
	invariant(outcome->sequence > 0);
	invariant(done->count <= SHARE_KEPT);
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
	invariant(done->count <= SHARE_KEPT);
	invariant(done->outcomes[0].sequence == outcome->sequence);
}

/* ---- Bytes ---- */

uint64_t share_hash(const char *bytes, size_t size)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* The text comes first, so that people can read it; its checksum ends it, NUL bytes fill the rest.
 */
#define SEAL "checksum "
#define SEAL_SIZE (sizeof(SEAL) - 1 + 16 + 1)

static void seal(char *bytes, size_t length, size_t size)
{
	invariant(length + SEAL_SIZE < size);
	snprintf(bytes + length, size - length, SEAL "%016llx\n",
		 (unsigned long long)share_hash(bytes, length));
}

/* Takes one thing after another from a text. Once one is missing, all that follow fail as well. */
struct cursor {
	const char *text;
	size_t at, length;
	bool failed;
};

/* The text before the checksum. Failed: it is not as it was written. */
static struct cursor unseal(const char *bytes, size_t size)
{
	char sealed[SEAL_SIZE + 1];
	struct cursor cursor = {.text = bytes, .failed = true};
	size_t length = strnlen(bytes, size);

	if (length == size || length < SEAL_SIZE)
		return cursor;
	cursor.length = length - SEAL_SIZE;
	snprintf(sealed, sizeof(sealed), SEAL "%016llx\n",
		 (unsigned long long)share_hash(bytes, cursor.length));
	cursor.failed = memcmp(bytes + cursor.length, sealed, SEAL_SIZE) != 0;
	return cursor;
}

/* The next character; NUL: there is none. */
static char peek(const struct cursor *cursor)
{
	if (cursor->failed || cursor->at >= cursor->length)
		return '\0';
	return cursor->text[cursor->at];
}

static bool take_if(struct cursor *cursor, const char *word)
{
	size_t length = strlen(word);

	if (cursor->failed || length > cursor->length || cursor->at > cursor->length - length ||
	    memcmp(cursor->text + cursor->at, word, length) != 0)
		return false;
	cursor->at += length;
	return true;
}

static void take_word(struct cursor *cursor, const char *word)
{
	cursor->failed = !take_if(cursor, word);
}

static int digit_of(char character)
{
	return character >= '0' && character <= '9'   ? character - '0'
	       : character >= 'a' && character <= 'f' ? character - 'a' + 10
						      : 16;
}

/* Digits of that base; a number above `most` fails. */
static uint64_t take_number(struct cursor *cursor, unsigned base, uint64_t most)
{
	uint64_t number = 0, digit;
	size_t start = cursor->at;

	for (; (digit = (uint64_t)digit_of(peek(cursor))) < base; cursor->at++) {
		if (number > (most - digit) / base)
			cursor->failed = true;
		else
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
	return take_number(cursor, 10, INT64_MAX); /* leaves room to add to it */
}

static int32_t take_signed(struct cursor *cursor, const char *word)
{
	take_word(cursor, word);
	bool negative = peek(cursor) == '-';
	cursor->at += negative;
	int64_t number =
		(int64_t)take_number(cursor, 10, negative ? -(int64_t)INT32_MIN : INT32_MAX);
	return (int32_t)(negative ? -number : number);
}

void share_print_open(const struct share_open *open, char bytes[SHARE_OPEN_SIZE])
{
	memset(bytes, 0, SHARE_OPEN_SIZE);
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
	struct cursor cursor = unseal(bytes, SHARE_OPEN_SIZE);

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
	if (cursor.failed || cursor.at != cursor.length)
		*open = (struct share_open){0};
}

/* No outcome needs more: its message, and all else. */
#define LINE_SIZE (sizeof(((struct share_outcome *)NULL)->message) + 128)

static size_t print_outcome(const struct share_outcome *outcome, char line[LINE_SIZE])
{
	return (size_t)snprintf(line, LINE_SIZE,
				"%llu %s: error %d, status %d, %llu requests, by pid %d: %s\n",
				(unsigned long long)outcome->sequence,
				ticket_verdict_name(outcome->verdict), (int)outcome->error,
				(int)outcome->status, (unsigned long long)outcome->requests,
				(int)outcome->pid, outcome->message);
}

void share_print_done(struct share_done *done, char bytes[SHARE_DONE_SIZE])
{
	invariant(done->count <= SHARE_KEPT);
	memset(bytes, 0, SHARE_DONE_SIZE);
	size_t length = (size_t)snprintf(bytes, SHARE_DONE_SIZE,
					 "\nstate %llx, the last run ended at %lld\n",
					 (unsigned long long)done->id, (long long)done->ended);

	for (size_t i = 0; i < done->count; i++) {
		if (length + LINE_SIZE + SEAL_SIZE > SHARE_DONE_SIZE) {
			done->count = i;
			break;
		}
		message_clean(done->outcomes[i].message);
		length += print_outcome(&done->outcomes[i], bytes + length);
	}
	seal(bytes, length, SHARE_DONE_SIZE);
}

static int32_t take_verdict(struct cursor *cursor)
{
	for (int verdict = SAFESTART_APPLIED; verdict <= SAFESTART_CANCELLED; verdict++) {
		if (take_if(cursor, ticket_verdict_name(verdict)))
			return verdict;
	}
	cursor->failed = true;
	return SAFESTART_PENDING;
}

static void take_message(struct cursor *cursor, char *message, size_t size)
{
	memset(message, 0, size);
	for (size_t i = 0; i < size - 1 && peek(cursor) != '\0' && peek(cursor) != '\n'; i++) {
		message[i] = peek(cursor);
		cursor->at++;
	}
	take_word(cursor, "\n"); /* one that is too long fails */
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
	struct cursor cursor = unseal(bytes, SHARE_DONE_SIZE);

	*done = (struct share_done){0};
	take_word(&cursor, "\nstate ");
	done->id = take_number(&cursor, 16, UINT64_MAX);
	done->ended = take_time(&cursor, ", the last run ended at ");
	take_word(&cursor, "\n");
	for (size_t i = 0; !cursor.failed && cursor.at < cursor.length; i++) {
		if (i == SHARE_KEPT) {
			cursor.failed = true;
			break;
		}
		take_outcome(&cursor, &done->outcomes[i]);
		/* Each is older than the one before. */
		cursor.failed = cursor.failed || (i > 0 && done->outcomes[i].sequence >=
								   done->outcomes[i - 1].sequence);
		done->count = i + 1;
	}
	if (cursor.failed || done->id == 0)
		*done = (struct share_done){0};
	invariant(done_holds(done));
	invariant(done->id != 0 || done->count == 0);
}
