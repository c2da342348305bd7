/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hosts/summary.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/report.h"
#include "base/text.h"

#define TEXT_SIZE 400
#define NAMES_MAX 3 /* so many processes are named before the rest is counted */

static const json_t *status_of(const struct peer *peer)
{
	return peer->state == PEER_ANSWERED ? json_object_get(peer->answer, "status") : NULL;
}

size_t summary_span(const struct processes *processes, size_t first)
{
	size_t count = 1;

	while (first + count < processes->count &&
	       strcmp(processes->peers[first].name, processes->peers[first + count].name) == 0)
		count++;
	return count;
}

size_t summary_nodes(const json_t *status, const char *state)
{
	const json_t *nodes = json_object_get(status, "nodes"), *node;
	size_t index, count = 0;

	json_array_foreach(nodes, index, node) {
		const char *its = member_text(node, "state");
		if (state != NULL ? strcmp(its, state) == 0
				  : strcmp(its, "applied") == 0 || strcmp(its, "proven") == 0 ||
					    strcmp(its, "failing") == 0)
			count++;
	}
	return count;
}

static bool has_set(const json_t *status)
{
	return member_number(status, "generation") > 0;
}

/* Its newest run did what there was to do, but for nodes that can't be used: they count as behind
 * too, and are told apart here. */
static bool applied_all_usable(const json_t *status)
{
	const char *verdict = member_text(json_object_get(status, "last"), "verdict");

	return summary_nodes(status, "quarantined") > 0 &&
	       !json_is_object(json_object_get(status, "run")) &&
	       (strcmp(verdict, "applied") == 0 || strcmp(verdict, "unchanged") == 0);
}

static bool any_has_digest(const struct peer *peers, size_t count, const char *digest)
{
	for (size_t i = 0; digest[0] != '\0' && i < count; i++) {
		const json_t *status = status_of(&peers[i]);
		if (has_set(status) && strcmp(member_text(status, "digest"), digest) == 0)
			return true;
	}
	return false;
}

/* What it should be on: before anything was asked of it, what is live. What it left out as unusable
 * does not count, unless another one could use all of it. */
static const char *target_digest(const struct peer *peers, size_t count, const json_t *status)
{
	const char *wanted = member_text(status, "desired_digest");

	if (applied_all_usable(status) && !any_has_digest(peers, count, wanted))
		wanted = "";
	return wanted[0] != '\0' ? wanted : has_set(status) ? member_text(status, "digest") : "";
}

/* The set that most are asked to have; among equals the one that more have live. */
static const char *summary_reference(const struct peer *peers, size_t count)
{
	const char *best = "";
	size_t best_score = 0;

	for (size_t i = 0; i < count; i++) {
		const char *candidate = target_digest(peers, count, status_of(&peers[i]));
		size_t score = 0;
		if (candidate[0] == '\0' || strcmp(candidate, best) == 0)
			continue;
		for (size_t k = 0; k < count; k++) {
			const json_t *status = status_of(&peers[k]);
			score += strcmp(target_digest(peers, count, status), candidate) == 0
					 ? count + 1
					 : 0;
			score += has_set(status) &&
				 strcmp(member_text(status, "digest"), candidate) == 0;
		}
		if (score > best_score) {
			best_score = score;
			best = candidate;
		}
	}
	return best;
}

static size_t common_digits(const char *a, const char *b)
{
	size_t same = 0;

	while (a[same] != '\0' && a[same] == b[same])
		same++;
	return same;
}

/* At least four digits of a digest, and as many as tell it from the others that are there. */
static size_t digits_needed(const struct peer *peers, size_t count, const char *digest)
{
	size_t digits = 4;

	for (size_t i = 0; i < count; i++) {
		const char *others[] = {member_text(status_of(&peers[i]), "digest"),
					member_text(status_of(&peers[i]), "desired_digest")};
		for (size_t k = 0; k < 2; k++) {
			size_t same = common_digits(digest, others[k]);
			if (strcmp(others[k], digest) != 0 && others[k][0] != '\0' &&
			    same + 1 > digits)
				digits = same + 1;
		}
	}
	return digits;
}

/* The gist of the library's words: "refused: would lose 6 of 10 nodes, max_shrink is 50%". */
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

/* The newest run that has ended did not do what it was to. */
static bool last_went_wrong(const json_t *status)
{
	const json_t *last = json_object_get(status, "last");
	const char *verdict = member_text(last, "verdict");

	return json_is_object(last) && strcmp(verdict, "applied") != 0 &&
	       strcmp(verdict, "unchanged") != 0;
}

static void format_reason(const json_t *status, char *words, size_t size)
{
	const json_t *last = json_object_get(status, "last"),
		     *lock = json_object_get(status, "lock");
	char before[TEXT_SIZE / 2] = "";

	if (last_went_wrong(status))
		shorten_message(member_text(last, "message"), before, sizeof(before));
	if (strcmp(member_text(lock, "state"), "waiting") == 0)
		snprintf(words, size, "waits for the lock, held by %.100s",
			 member_text(lock, "holder")[0] != '\0' ? member_text(lock, "holder")
								: "another process");
	else if (json_is_object(
			 json_object_get(status, "run"))) /* one that takes long hides how the
							     others ended: it may never end well */
		snprintf(words, size, "a run is in progress (%.40s)%s%s",
			 member_text(json_object_get(status, "run"), "phase"),
			 before[0] != '\0' ? ", the one before: " : "", before);
	else if (before[0] != '\0')
		snprintf(words, size, "%s", before);
	else
		snprintf(words, size, "%s",
			 json_is_object(last) ? "its next run is due"
					      : "its first run has not ended");
}

/* What ails it, without how long: equal words are one entry of the line. */
static enum trouble find_trouble(const struct peer *peer, const struct summary *summary,
				 char *words, size_t size)
{
	const json_t *status = status_of(peer);
	const char *source = member_text(status, "source");
	size_t quarantined = summary_nodes(status, "quarantined");

	words[0] = '\0';
	if (peer->state == PEER_GONE || status == NULL) {
		snprintf(words, size, "%s",
			 peer->state == PEER_ANSWERED ? "its answer has no status" : peer->why);
		return peer->state == PEER_GONE ? TROUBLE_GONE : TROUBLE_UNKNOWN;
	}
	if (!has_set(status) && strcmp(source, "none") != 0) {
		format_reason(status, words, size);
		return TROUBLE_EMPTY;
	}
	bool underway =
		!applied_all_usable(status) && member_text(status, "desired_digest")[0] != '\0' &&
		strcmp(member_text(status, "desired_digest"), member_text(status, "digest")) != 0;
	if (underway ||
	    (member_number(status, "behind_seconds") > 0 && !applied_all_usable(status))) {
		format_reason(status, words, size);
		return TROUBLE_BEHIND;
	}
	bool left_out = quarantined > 0 &&
			strcmp(member_text(status, "desired_digest"), summary->full) == 0;
	if (has_set(status) && !left_out &&
	    strcmp(member_text(status, "digest"), summary->full) != 0) {
		bool file = strncmp(source, "file:", 5) == 0;
		snprintf(words, size, "on generation %.*s, which is what %.200s%s",
			 (int)summary->digits, member_text(status, "digest"),
			 file ? source : "it was told", file ? " held when it read it" : "");
		return TROUBLE_OTHER;
	}
	if (quarantined > 0) {
		snprintf(words, size, "%zu node%s quarantined", quarantined,
			 quarantined == 1 ? "" : "s");
		return TROUBLE_QUARANTINED;
	}
	return TROUBLE_NONE;
}

enum trouble summary_peer(const struct peer *peer, const struct summary *summary, char *words,
			  size_t size)
{
	char what[TEXT_SIZE];
	enum trouble trouble = find_trouble(peer, summary, what, sizeof(what));

	if (trouble == TROUBLE_BEHIND)
		snprintf(words, size, "behind %s: %.300s",
			 text_duration(member_number(status_of(peer), "behind_seconds")).text,
			 what);
	else if (trouble == TROUBLE_EMPTY)
		snprintf(words, size, "no set yet: %.300s", what);
	else
		snprintf(words, size, "%s", what);
	return trouble;
}

/* ---- The line ---- */

/* All that ail alike from `first` on become one entry: "4312, 4313 and 7 more behind up to 4m12s:
 * refused: …". */
static void write_group(FILE *to, const struct peer *peers, size_t count, size_t first,
			enum trouble trouble, const char *words, const struct summary *summary,
			bool *written)
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
		double behind = member_number(status_of(&peers[i]), "behind_seconds");
		longest = behind > longest ? behind : longest;
		if (same++ < NAMES_MAX)
			fprintf(to, "%s%s", same > 1 ? ", " : "", peers[i].process);
	}
	if (same > NAMES_MAX)
		fprintf(to, " and %zu more", same - NAMES_MAX);
	if (trouble == TROUBLE_BEHIND)
		fprintf(to, " behind %s%s", same > 1 ? "up to " : "", text_duration(longest).text);
	else if (trouble == TROUBLE_EMPTY)
		fprintf(to, " without a set");
	if (trouble == TROUBLE_GONE)
		fputs(" gone", to);
	else
		fprintf(to, ": %s", words);
}

/* Nobody has the newest set; that is not to say that nobody serves. */
static void write_still_serving(FILE *to, const struct peer *peers, size_t count,
				const struct summary *summary)
{
	for (size_t i = 0; i < count; i++) {
		const json_t *status = status_of(&peers[i]);
		size_t nodes = summary_nodes(status, NULL);
		if (!has_set(status) || nodes == 0)
			continue;
		fprintf(to, "; %.*s (%zu node%s) goes on serving", (int)summary->digits,
			member_text(status, "digest"), nodes, nodes == 1 ? "" : "s");
		return;
	}
}

/* Nodes that are in use and do not work; true: there are some. Whoever looks at night looks for
 * them, though every process has all it should have. */
static bool write_failing(FILE *to, const struct summary *summary, const struct peer *peers,
			  size_t count)
{
	json_t *ids = json_object(), *node;
	const char *first = "";
	size_t index, on = 0;

	for (size_t i = 0; i < count; i++) {
		json_t *nodes = json_object_get(status_of(&peers[i]), "nodes");
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
	return on > 0;
}

static bool write_line(struct summary *summary, const struct peer *peers, size_t count)
{
	bool *written = calloc(count + 1, sizeof(*written));
	size_t size, entries = 0;
	char words[TEXT_SIZE];
	FILE *to = written != NULL ? open_memstream(&summary->line, &size) : NULL;

	if (to == NULL) {
		free(written);
		return false;
	}
	if (summary->digest[0] != '\0')
		fprintf(to, "%zu of %zu on generation %s", summary->on_it,
			summary->processes + summary->missing, summary->digest);
	else
		fprintf(to, "%zu process%s, no set of nodes", summary->processes,
			summary->processes == 1 ? "" : "es");
	if (summary->on_it > 0)
		fprintf(to, " (%zu node%s)", summary->nodes, summary->nodes == 1 ? "" : "s");
	if (summary->missing > 0)
		fprintf(to, "; %zu %s missing, as the roster has it", summary->missing,
			summary->missing == 1 ? "is" : "are");
	for (int trouble = TROUBLE_UNKNOWN; trouble > TROUBLE_NONE; trouble--) {
		for (size_t i = 0; i < count; i++) {
			if (written[i] ||
			    (int)find_trouble(&peers[i], summary, words, sizeof(words)) != trouble)
				continue;
			write_group(to, peers, count, i, (enum trouble)trouble, words, summary,
				    written);
			entries++;
		}
	}
	if (summary->on_it == 0)
		write_still_serving(to, peers, count, summary);
	if (entries + summary->missing == 0)
		fputs(", nothing waiting", to);
	if (write_failing(to, summary, peers, count) && summary->next[0] == '\0')
		snprintf(summary->next, sizeof(summary->next), "safestart nodes %s", peers[0].name);
	free(written);
	return fclose(to) == 0 && summary->line != NULL;
}

/* ---- What to do ---- */

static void next_when_behind(struct summary *summary, const struct peer *peer)
{
	const json_t *status = status_of(peer), *last = json_object_get(status, "last");
	const char *message = member_text(last, "message"), *source = member_text(status, "source"),
		   *verdict = member_text(last, "verdict");

	if (strstr(message, "SAFESTART_FORCE") != NULL)
		snprintf(summary->next, sizeof(summary->next), "safestart request --force %s",
			 peer->name);
	else if (strcmp(verdict, "refused") == 0 && strncmp(source, "file:", 5) == 0)
		snprintf(summary->next, sizeof(summary->next), "safestart check %s", source + 5);
	else if (strcmp(verdict, "refused") == 0)
		snprintf(summary->next, sizeof(summary->next),
			 "put right what it is told; safestart events %s says more", peer->name);
	else
		snprintf(summary->next, sizeof(summary->next), "safestart events %s", peer->name);
}

/* Who reads the same file as those that are on the newest set has not looked since; asking helps.
 * Another file is another matter. */
static bool has_same_source(const struct summary *summary, const struct peer *peers, size_t count,
			    const struct peer *peer)
{
	const char *source = member_text(status_of(peer), "source");

	for (size_t i = 0; strncmp(source, "file:", 5) == 0 && i < count; i++) {
		const json_t *status = status_of(&peers[i]);
		if (has_set(status) && strcmp(member_text(status, "digest"), summary->full) == 0 &&
		    strcmp(member_text(status, "source"), source) == 0)
			return true;
	}
	return false;
}

/* The worst one decides. */
static void choose_next(struct summary *summary, const struct peer *peers, size_t count,
			const struct peer *peer, enum trouble trouble)
{
	switch (trouble) {
	case TROUBLE_NONE: break;
	case TROUBLE_OTHER:
		snprintf(summary->next, sizeof(summary->next), "safestart %s %s",
			 has_same_source(summary, peers, count, peer) ? "request" : "nodes",
			 peer->name);
		break;
	case TROUBLE_QUARANTINED:
		snprintf(summary->next, sizeof(summary->next), "safestart nodes %s", peer->name);
		break;
	case TROUBLE_GONE:
		snprintf(summary->next, sizeof(summary->next),
			 "look why %s ended; its socket is swept now", peer->process);
		break;
	case TROUBLE_BEHIND:
	case TROUBLE_EMPTY: next_when_behind(summary, peer); break;
	case TROUBLE_UNKNOWN:
		if (peer->state == PEER_SILENT)
			snprintf(summary->next, sizeof(summary->next),
				 "look what process %s is doing; if it is stopped: kill -CONT %s",
				 peer->process, peer->process);
		else if (strncmp(peer->why, "you may not", 11) == 0)
			snprintf(summary->next, sizeof(summary->next), "safestart status as root");
		else
			snprintf(summary->next, sizeof(summary->next),
				 "look whose socket %.200s is, and what its process does",
				 peer->file != NULL ? peer->file : "it");
		break;
	}
}

static int exit_code_of(const struct peer *peer, enum trouble trouble)
{
	const char *verdict = member_text(json_object_get(status_of(peer), "last"), "verdict");

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

	*summary = (struct summary){0};
	snprintf(summary->full, sizeof(summary->full), "%s", summary_reference(peers, count));
	summary->digits = digits_needed(peers, count, summary->full);
	snprintf(summary->digest, sizeof(summary->digest), "%.*s", (int)summary->digits,
		 summary->full);
	for (size_t i = 0; i < count; i++) {
		const json_t *status = status_of(&peers[i]);
		summary->processes += peers[i].state != PEER_GONE;
		serving += peers[i].state != PEER_GONE && member_bool(status, "serves", true);
		if (summary->full[0] != '\0' && has_set(status) &&
		    strcmp(member_text(status, "digest"), summary->full) == 0) {
			summary->on_it++;
			summary->nodes = summary_nodes(status, NULL);
		}
	}
	/* All of them were killed: one that is gone is nothing bad where others are there. */
	if (summary->processes == 0 && count > 0)
		summary->code = EXIT_FAILED;
	summary->missing = serving < expected ? expected - serving : 0;
	if (summary->missing > 0) {
		summary->code = exit_code_worse(summary->code, EXIT_ROSTER);
		snprintf(summary->next, sizeof(summary->next),
			 "look why %s not running, or put the roster right",
			 summary->missing == 1 ? "it is" : "they are");
	}
	for (size_t i = 0; i < count; i++) {
		enum trouble trouble = find_trouble(&peers[i], summary, words, sizeof(words));
		summary->code = exit_code_worse(summary->code, exit_code_of(&peers[i], trouble));
		if (trouble > worst) {
			worst = trouble;
			/* One that is not there at all matters more. */
			if (summary->missing == 0 ||
			    (trouble != TROUBLE_QUARANTINED && trouble != TROUBLE_OTHER))
				choose_next(summary, peers, count, &peers[i], trouble);
		}
	}
	if (!write_line(summary, peers, count))
		summary->code = EXIT_FAILED;
}

void summary_end(struct summary *summary)
{
	free(summary->line);
	summary->line = NULL;
}
