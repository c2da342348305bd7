/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* summary: finds what is wrong with each process, and groups equal causes.
 * Pure: works on answers that were read before; every text in them is untrusted. */
#include "hosts/summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/report.h"
#include "base/text.h"
#include "hosts/advice.h"
#include "hosts/reference.h"

#define TEXT_SIZE 400
#define NAMES_MAX 3 /* processes named in a group; the rest is counted */

size_t summary_span(const struct processes *processes, size_t first)
{
	size_t count = 1;

	while (first + count < processes->count &&
	       strcmp(processes->peers[first].name, processes->peers[first + count].name) == 0)
		count++;
	return count;
}

/* Shortens a message of the library to what happened: "refused: would lose 6 of 10 nodes,
 * max_shrink is 50%". The rest, such as examples and when it retries, is in safestart events. */
static void shorten_message(const char *message, char *words, size_t size)
{
	const char *ends[] = {"; ", " (such as"};
	size_t length = strlen(message);

	for (size_t i = 0; i < 2; i++) {
		const char *end = strstr(message, ends[i]);
		if (end != NULL && (size_t)(end - message) < length)
			length = (size_t)(end - message);
	}
	snprintf(words, size, "%.*s", (int)(length < 200 ? length : 200), message);
}

/* The newest run that has ended failed or was refused. */
static bool last_went_wrong(const json_t *status)
{
	const json_t *last = json_object_get(status, "last");
	const char *verdict = member_text(last, "verdict");

	return json_is_object(last) && strcmp(verdict, "applied") != 0 &&
	       strcmp(verdict, "unchanged") != 0;
}

/* Why a process is behind, the most informative cause first: a lock that another process holds, a
 * run in progress, then how the newest run ended. */
static void format_reason(const json_t *status, char *words, size_t size)
{
	const json_t *last = json_object_get(status, "last"),
		     *lock = json_object_get(status, "lock");
	char before[TEXT_SIZE / 2] = "";

	if (last_went_wrong(status))
		shorten_message(member_text(last, "message"), before, sizeof(before));
	if (strcmp(member_text(lock, "state"), "waiting") == 0)
		snprintf(words, size, "waiting for the lock, held by %.100s",
			 member_text(lock, "holder")[0] != '\0' ? member_text(lock, "holder")
								: "another process");
	/* With the result of the run before: one that hangs must not hide it. */
	else if (json_is_object(json_object_get(status, "run")))
		snprintf(words, size, "a run is in progress (%.40s)%s%s",
			 member_text(json_object_get(status, "run"), "phase"),
			 before[0] != '\0' ? ", the previous one: " : "", before);
	else if (before[0] != '\0')
		snprintf(words, size, "%s", before);
	else
		snprintf(words, size, "%s",
			 json_is_object(last) ? "the next run is due"
					      : "the first run has not ended");
}

static void format_other(const json_t *status, const struct summary *summary, char *words,
			 size_t size)
{
	const char *source = member_text(status, "source");
	bool file = strncmp(source, "file:", 5) == 0,
	     other = summary->source[0] != '\0' && strcmp(summary->source, source) != 0;
	snprintf(words, size, "on generation %.*s, %s%.130s%s%s%.130s", (int)summary->digits,
		 member_text(status, "digest"), file ? "as " : "the set it was given",
		 file ? source : "", file ? " was when last read" : "",
		 other ? "; the others read " : "", other ? summary->source : "");
}

/* What is wrong with one process, without for how long: processes with equal words become one group
 * of the line. */
static enum trouble find_trouble(const struct peer *peer, const struct summary *summary,
				 char *words, size_t size)
{
	const json_t *status = peer_status(peer);
	const char *source = member_text(status, "source");
	size_t quarantined = status_nodes(status, "quarantined");

	words[0] = '\0';
	if (peer->state == PEER_GONE || status == NULL) {
		snprintf(words, size, "%s",
			 peer->state == PEER_ANSWERED ? "the answer has no status" : peer->why);
		return peer->state == PEER_GONE ? TROUBLE_GONE : TROUBLE_UNKNOWN;
	}
	if (!status_has_set(status) && strcmp(source, "none") != 0) {
		format_reason(status, words, size);
		return TROUBLE_EMPTY;
	}
	/* It has applied another set than the one it should have, and a run would change that. */
	bool underway =
		!status_applied_all_usable(status) &&
		member_text(status, "desired_digest")[0] != '\0' &&
		strcmp(member_text(status, "desired_digest"), member_text(status, "digest")) != 0;
	if (underway ||
	    (member_number(status, "behind_seconds") > 0 && !status_applied_all_usable(status))) {
		format_reason(status, words, size);
		return TROUBLE_BEHIND;
	}
	/* It should have the reference set, and has all of it but the quarantined nodes. */
	bool left_out = quarantined > 0 &&
			strcmp(member_text(status, "desired_digest"), summary->full) == 0;
	if (status_has_set(status) && !left_out &&
	    strcmp(member_text(status, "digest"), summary->full) != 0) {
		format_other(status, summary, words, size);
		return TROUBLE_OTHER;
	}
	if (quarantined > 0) {
		snprintf(words, size, "%zu node%s quarantined", quarantined,
			 quarantined == 1 ? "" : "s");
		return TROUBLE_QUARANTINED;
	}
	return TROUBLE_NONE;
}

/* Why a set was refused: what follows "refused …: " in the words. NULL: none was. */
static const char *refused_cause(const struct peer *peer, enum trouble trouble, const char *words)
{
	const char *verdict = member_text(json_object_get(peer_status(peer), "last"), "verdict"),
		   *colon = strstr(words, ": ");

	return (trouble == TROUBLE_BEHIND || trouble == TROUBLE_EMPTY) && colon != NULL &&
			       strcmp(verdict, "refused") == 0 && strncmp(words, "refused", 7) == 0
		       ? colon + 2
		       : NULL;
}

/* In a table the cause stands before the path: a terminal cuts the end. */
static void cause_first(const struct peer *peer, enum trouble trouble, char what[TEXT_SIZE])
{
	const char *cause = refused_cause(peer, trouble, what);
	char turned[TEXT_SIZE];

	if (cause == NULL)
		return;
	snprintf(turned, sizeof(turned), "%.200s: %.*s", cause, (int)(cause - 2 - what), what);
	snprintf(what, TEXT_SIZE, "%s", turned);
}

enum trouble summary_peer(const struct peer *peer, const struct summary *summary, char *words,
			  size_t size)
{
	char what[TEXT_SIZE];
	enum trouble trouble = find_trouble(peer, summary, what, sizeof(what));

	cause_first(peer, trouble, what);
	if (trouble == TROUBLE_BEHIND)
		snprintf(words, size, "behind %s: %.300s",
			 text_duration(member_number(peer_status(peer), "behind_seconds")).text,
			 what);
	else if (trouble == TROUBLE_EMPTY)
		snprintf(words, size, "no node set yet: %.300s", what);
	else
		snprintf(words, size, "%s", what);
	return trouble;
}

/* ---- The line ---- */

/* Where a set was refused the line begins with that, and the cause: a terminal of 80 columns cuts
 * the end [P12]. `lead`: the words of the first process that refused; "": none did. */
static void write_refused(FILE *to, const struct summary *summary, const struct peer *peers,
			  size_t count, char lead[TEXT_SIZE])
{
	const char *cause = NULL;
	size_t serving = 0, refusing = 0, all = summary->processes + summary->missing;
	bool has_set = false;
	char words[TEXT_SIZE];

	lead[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		enum trouble trouble = find_trouble(&peers[i], summary, words, sizeof(words));
		if (cause != NULL) {
			refusing += strcmp(words, lead) == 0;
		} else if (refused_cause(&peers[i], trouble, words) != NULL) {
			snprintf(lead, TEXT_SIZE, "%s", words);
			cause = strstr(lead, ": ") + 2;
			has_set = status_has_set(peer_status(&peers[i]));
			serving = status_nodes(peer_status(&peers[i]), NULL);
			refusing = 1;
		}
	}
	if (cause == NULL)
		return;
	fputs("REFUSED new nodes", to);
	if (refusing < all)
		fprintf(to, " on %zu of %zu", refusing, all);
	if (has_set)
		fprintf(to, ", still serving the old %zu: %s; ", serving, cause);
	else
		fprintf(to, ", no node set yet: %s; ", cause);
}

/* Writes the group of all processes that have the same trouble as the one at `first`: "; 4312,
 * 4313, 4314 and 7 more behind up to 4m12s: …". The cause is left out if the line began with it. */
static void write_group(FILE *to, const struct peer *peers, size_t count, size_t first,
			enum trouble trouble, const char *words, const struct summary *summary,
			const char *lead, bool *written)
{
	double longest = 0;
	size_t same = 0;
	char its[TEXT_SIZE];

	fputs("; ", to);
	for (size_t i = first; i < count; i++) {
		if (written[i] || find_trouble(&peers[i], summary, its, sizeof(its)) != trouble ||
		    strcmp(its, words) != 0)
			continue;
		written[i] = true;
		double behind = member_number(peer_status(&peers[i]), "behind_seconds");
		longest = behind > longest ? behind : longest;
		if (same++ < NAMES_MAX)
			fprintf(to, "%s%s", same > 1 ? ", " : "", peers[i].process);
	}
	if (same > NAMES_MAX)
		fprintf(to, " and %zu more", same - NAMES_MAX);
	if (trouble == TROUBLE_BEHIND)
		fprintf(to, " behind %s%s", same > 1 ? "up to " : "", text_duration(longest).text);
	else if (trouble == TROUBLE_EMPTY)
		fputs(", no node set yet", to);
	if (trouble == TROUBLE_GONE)
		fputs(" gone", to);
	else if (lead[0] != '\0' && strcmp(words, lead) == 0)
		fprintf(to, ": %.*s", (int)(strstr(words, ": ") - words), words);
	else
		fprintf(to, ": %s", words);
}

/* No process has the reference set: says which set is still serving. */
static void write_still_serving(FILE *to, const struct peer *peers, size_t count,
				const struct summary *summary)
{
	for (size_t i = 0; i < count; i++) {
		const json_t *status = peer_status(&peers[i]);
		size_t nodes = status_nodes(status, NULL);
		if (!status_has_set(status) || nodes == 0)
			continue;
		fprintf(to, "; still serving %.*s (%zu node%s)", (int)summary->digits,
			member_text(status, "digest"), nodes, nodes == 1 ? "" : "s");
		return;
	}
}

/* Writes which live nodes are failing; true: there are some. They are the most frequent reason to
 * look, and every process may have the right set all the same. */
static bool write_failing(FILE *to, struct summary *summary, const struct peer *peers, size_t count)
{
	json_t *ids = json_object(), *node;
	const char *first = "";
	size_t index, on = 0;

	for (size_t i = 0; i < count; i++) {
		json_t *nodes = json_object_get(peer_status(&peers[i]), "nodes");
		size_t one = 0;
		json_array_foreach(nodes, index, node) {
			if (strcmp(member_text(node, "state"), "failing") != 0)
				continue;
			first = first[0] == '\0' ? member_text(node, "id") : first;
			(void)json_object_set_new(ids, member_text(node, "id"), json_true());
			one = 1;
		}
		on += one;
	}
	size_t all = json_object_size(ids);
	if (on > 0 && all > 1)
		fprintf(to, "; %.100s and %zu more are failing on %zu of %zu", first, all - 1, on,
			summary->processes);
	else if (on > 0)
		fprintf(to, "; %.100s is failing on %zu of %zu", first, on, summary->processes);
	json_decref(ids);
	summary->failing = on;
	return on > 0;
}

/* The line: refusal and cause, how many have the reference set, missing processes, then groups of
 * trouble from the worst to the least. The order is the order of importance, because a terminal
 * cuts the end. */
static bool write_line(struct summary *summary, const struct peer *peers, size_t count,
		       unsigned expected)
{
	bool *written = calloc(count + 1, sizeof(*written));
	size_t size, entries = 0;
	char words[TEXT_SIZE], lead[TEXT_SIZE];
	FILE *to = written != NULL ? open_memstream(&summary->line, &size) : NULL;

	if (to == NULL) {
		free(written);
		return false;
	}
	write_refused(to, summary, peers, count, lead);
	if (summary->digest[0] != '\0')
		fprintf(to, "%zu of %zu on generation %s", summary->on_it,
			summary->processes + summary->missing, summary->digest);
	else
		fprintf(to, "%zu process%s, no node set", summary->processes,
			summary->processes == 1 ? "" : "es");
	if (summary->on_it > 0)
		fprintf(to, " (%zu node%s)", summary->nodes, summary->nodes == 1 ? "" : "s");
	if (summary->missing > 0)
		fprintf(to, "; %zu missing (roster expects %u)", summary->missing, expected);
	if (summary->extra > 0)
		fprintf(to, "; %zu more than the roster expects (%u)", summary->extra, expected);
	for (int trouble = TROUBLE_UNKNOWN; trouble > TROUBLE_NONE; trouble--) {
		for (size_t i = 0; i < count; i++) {
			if (written[i] ||
			    (int)find_trouble(&peers[i], summary, words, sizeof(words)) != trouble)
				continue;
			write_group(to, peers, count, i, (enum trouble)trouble, words, summary,
				    lead, written);
			entries++;
		}
	}
	if (summary->on_it == 0)
		write_still_serving(to, peers, count, summary);
	if (entries + summary->missing == 0)
		fputs(", nothing pending", to);
	if (write_failing(to, summary, peers, count) && summary->next[0] == '\0')
		snprintf(summary->next, sizeof(summary->next), "safestart nodes %s", peers[0].name);
	free(written);
	return fclose(to) == 0 && summary->line != NULL;
}

/* ---- Together ---- */

/* A killed process is no failure by itself: its successor may be running. The roster notices if it
 * is not. */
static int exit_code_of(const struct peer *peer, enum trouble trouble)
{
	const char *verdict = member_text(json_object_get(peer_status(peer), "last"), "verdict");

	switch (trouble) {
	case TROUBLE_NONE:
	case TROUBLE_GONE: return EXIT_DONE;
	case TROUBLE_OTHER: return EXIT_NOT_YET;
	case TROUBLE_QUARANTINED: return EXIT_QUARANTINED;
	case TROUBLE_UNKNOWN: return EXIT_FAILED;
	case TROUBLE_BEHIND:
	case TROUBLE_EMPTY: break;
	}
	return strcmp(verdict, "refused") == 0                                       ? EXIT_REFUSED
	       : strcmp(verdict, "failed") == 0 || strcmp(verdict, "timed_out") == 0 ? EXIT_FAILED
										     : EXIT_NOT_YET;
}

void summarise(struct summary *summary, const struct peer *peers, size_t count, unsigned expected)
{
	enum trouble worst = TROUBLE_NONE;
	size_t serving = 0;
	char words[TEXT_SIZE];

	*summary = (struct summary){.source = ""};
	snprintf(summary->full, sizeof(summary->full), "%s", reference_choose(peers, count));
	summary->digits = reference_digits(peers, count, summary->full);
	snprintf(summary->digest, sizeof(summary->digest), "%.*s", (int)summary->digits,
		 summary->full);
	for (size_t i = 0; i < count; i++) {
		const json_t *status = peer_status(&peers[i]);
		summary->processes += peers[i].state != PEER_GONE;
		summary->gone += peer_gone_lately(&peers[i]);
		serving += peers[i].state != PEER_GONE && member_bool(status, "serves", true);
		if (summary->full[0] != '\0' && status_has_set(status) &&
		    strcmp(member_text(status, "digest"), summary->full) == 0) {
			summary->source = summary->on_it++ == 0 ? member_text(status, "source")
								: summary->source;
			summary->nodes = status_nodes(status, NULL);
		}
	}
	/* All of them were killed. One that is gone is no failure while others are running. */
	if (summary->processes == 0 && count > 0)
		summary->code = EXIT_FAILED;
	summary->missing = serving < expected ? expected - serving : 0;
	summary->extra = expected > 0 && serving > expected ? serving - expected : 0;
	if (summary->missing > 0) {
		summary->code = exit_code_worse(summary->code, EXIT_ROSTER);
		snprintf(summary->next, sizeof(summary->next),
			 "find out why %s not running, or correct the roster",
			 summary->missing == 1 ? "it is" : "they are");
	}
	for (size_t i = 0; i < count; i++) {
		enum trouble trouble = find_trouble(&peers[i], summary, words, sizeof(words));
		summary->code = exit_code_worse(summary->code, exit_code_of(&peers[i], trouble));
		if (trouble > worst) {
			worst = trouble;
			/* A process that is not running at all matters more. */
			if (summary->missing == 0 ||
			    (trouble != TROUBLE_QUARANTINED && trouble != TROUBLE_OTHER))
				advise(summary, peers, count, &peers[i], trouble);
		}
	}
	if (!write_line(summary, peers, count, expected))
		summary->code = EXIT_FAILED;
}

void summary_end(struct summary *summary)
{
	free(summary->line);
	summary->line = NULL;
}
