/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mailbox: the queue behind mailbox.h, and the socket that tells when to look into it. Any thread,
 * under its own lock. */
#include "base/mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/invariant.h"

struct log_letter {
	struct letter letter;
	char text[];
};

static bool holds_locked(const struct mailbox *mailbox)
{
	return (mailbox->first == NULL) == (mailbox->end == &mailbox->first) &&
	       *mailbox->end == NULL && mailbox->logs <= MAILBOX_LOGS &&
	       mailbox->outcomes <= MAILBOX_OUTCOMES &&
	       (mailbox->outcomes > 0) == (mailbox->newest_outcome != NULL);
}

static void lock(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	invariant(holds_locked(mailbox));
}

static void unlock(struct mailbox *mailbox)
{
	invariant(holds_locked(mailbox));
	pthread_mutex_unlock(&mailbox->lock);
}

/* ---- The socket ---- */

static int make_socket(int ends[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0 ? -errno
											    : 0;
}

/* One byte is in it exactly while something waits, or nothing will. False: the host has refused
 * that; it is tried again with the next letter, and by mailbox_signal(). */
static bool signal_locked(struct mailbox *mailbox)
{
	bool wanted = mailbox->first != NULL || mailbox->over;
	char byte = 0;

	if (wanted == mailbox->signalled || mailbox->read_fd < 0 || !mailbox->own)
		return true;
	ssize_t done = wanted ? send(mailbox->write_fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT)
			      : recv(mailbox->read_fd, &byte, 1, MSG_DONTWAIT);
	if (done == 1 || (!wanted && done == 0))
		mailbox->signalled = wanted;
	return wanted == mailbox->signalled;
}

bool mailbox_signal(struct mailbox *mailbox)
{
	lock(mailbox);
	bool signalled = signal_locked(mailbox);
	unlock(mailbox);
	return signalled;
}

/* ---- The queue ---- */

static void add_locked(struct mailbox *mailbox, struct letter *letter)
{
	invariant(!letter->waiting && letter->kind != 0);
	letter->next = NULL;
	letter->waiting = true;
	*mailbox->end = letter;
	mailbox->end = &letter->next;
}

static void remove_locked(struct mailbox *mailbox, struct letter **at)
{
	struct letter *letter = *at;

	*at = letter->next;
	if (*at == NULL)
		mailbox->end = at;
	letter->waiting = false;
	if (letter->kind == SAFESTART_EVENT_LOG)
		mailbox->logs--;
	if (letter->kind == SAFESTART_EVENT_OUTCOME && --mailbox->outcomes == 0)
		mailbox->newest_outcome = NULL;
}

static void throw_away(struct letter *letter)
{
	if (letter != NULL && letter->given)
		free(letter);
}

static void empty_locked(struct mailbox *mailbox)
{
	while (mailbox->first != NULL) {
		struct letter *letter = mailbox->first;
		remove_locked(mailbox, &mailbox->first);
		throw_away(letter);
	}
	throw_away(mailbox->taken);
	mailbox->taken = NULL;
	mailbox->logs_lost = 0;
}

void mailbox_put(struct mailbox *mailbox, struct letter *letter)
{
	lock(mailbox);
	bool shut = mailbox->read_fd < 0;
	if (!shut)
		add_locked(mailbox, letter);
	signal_locked(mailbox);
	unlock(mailbox);
	if (shut)
		throw_away(letter);
}

/* False: there is no memory. */
static bool add_log_locked(struct mailbox *mailbox, int level, const char *text)
{
	size_t length = strlen(text);
	struct log_letter *line = calloc(1, sizeof(*line) + length + 1);

	if (line == NULL)
		return false;
	line->letter.kind = SAFESTART_EVENT_LOG;
	line->letter.value = (uint64_t)level;
	line->letter.given = true;
	memcpy(line->text, text, length + 1);
	add_locked(mailbox, &line->letter);
	mailbox->logs++;
	return true;
}

static bool add_log_and_lost_locked(struct mailbox *mailbox, int level, const char *text)
{
	char lost[160];

	if (mailbox->read_fd < 0)
		return true; /* nobody will miss it */
	if (mailbox->logs + (mailbox->logs_lost > 0) >= MAILBOX_LOGS)
		return false;
	snprintf(lost, sizeof(lost),
		 "%llu log lines are missing here: the application did not take its events "
		 "(safestart_next_event()), or there was no memory",
		 (unsigned long long)mailbox->logs_lost);
	if (mailbox->logs_lost > 0 && !add_log_locked(mailbox, LOG_WARNING, lost))
		return false;
	mailbox->logs_lost = 0;
	return add_log_locked(mailbox, level, text);
}

void mailbox_put_log(struct mailbox *mailbox, int level, const char *text)
{
	lock(mailbox);
	mailbox->logs_lost += !add_log_and_lost_locked(mailbox, level, text);
	signal_locked(mailbox);
	unlock(mailbox);
}

/* At most one of them is taken, and the others wait. */
static struct outcome_letter *free_outcome_locked(struct mailbox *mailbox)
{
	struct outcome_letter *found = mailbox->outcome_letters;

	while (found->letter.waiting || &found->letter == mailbox->taken)
		found++;
	invariant(found < mailbox->outcome_letters + MAILBOX_OUTCOMES + 1);
	return found;
}

void mailbox_put_outcome(struct mailbox *mailbox, const struct safestart_outcome *outcome)
{
	lock(mailbox);
	if (mailbox->outcomes == MAILBOX_OUTCOMES) {
		/* It takes the place of the newest that waits, and says so. */
		struct safestart_outcome *newest = &mailbox->newest_outcome->outcome;
		uint64_t merged = newest->merged + 1;
		*newest = *outcome;
		newest->merged += merged;
	} else if (mailbox->read_fd >= 0) {
		struct outcome_letter *letter = free_outcome_locked(mailbox);
		letter->outcome = *outcome;
		letter->letter.kind = SAFESTART_EVENT_OUTCOME;
		add_locked(mailbox, &letter->letter);
		mailbox->outcomes++;
		mailbox->newest_outcome = letter;
	}
	signal_locked(mailbox);
	unlock(mailbox);
}

bool mailbox_withdraw(struct mailbox *mailbox, struct letter *letter)
{
	lock(mailbox);
	bool waiting = letter->waiting;
	if (waiting) {
		struct letter **at = &mailbox->first;
		while (*at != letter) {
			invariant(*at != NULL);
			at = &(*at)->next;
		}
		remove_locked(mailbox, at);
		signal_locked(mailbox);
	}
	unlock(mailbox);
	return waiting;
}

void mailbox_end(struct mailbox *mailbox)
{
	lock(mailbox);
	mailbox->over = true;
	signal_locked(mailbox);
	unlock(mailbox);
}

/* What the letter says. It is no longer the mailbox's if it is not `taken`. */
static void tell(const struct letter *letter, struct safestart_event *event)
{
	event->kind = letter->kind;
	switch (letter->kind) {
	case SAFESTART_EVENT_PREPARE:
	case SAFESTART_EVENT_RESTART:
	case SAFESTART_EVENT_CANCELLED:
		event->run = (struct safestart_run *)(uintptr_t)letter->value;
		break;
	case SAFESTART_EVENT_COMMITTED: event->run_number = letter->value; break;
	case SAFESTART_EVENT_RETIRE:
	case SAFESTART_EVENT_RETIRE_NODE: event->key = letter->value; break;
	case SAFESTART_EVENT_OUTCOME:
		event->outcome = &((const struct outcome_letter *)letter)->outcome;
		event->run_number = event->outcome->run;
		event->text = event->outcome->message;
		break;
	default:
		invariant(letter->kind == SAFESTART_EVENT_LOG);
		event->level = (int32_t)letter->value;
		event->text = ((const struct log_letter *)letter)->text;
	}
}

int mailbox_take(struct mailbox *mailbox, struct safestart_event *event)
{
	lock(mailbox);
	struct letter *letter = mailbox->first;
	throw_away(mailbox->taken);
	mailbox->taken = NULL;
	if (letter != NULL) {
		remove_locked(mailbox, &mailbox->first);
		tell(letter, event);
		/* One that is part of a run is the run's again. */
		if (letter->given || letter->kind == SAFESTART_EVENT_OUTCOME)
			mailbox->taken = letter;
	}
	signal_locked(mailbox);
	bool over = mailbox->over;
	unlock(mailbox);
	return letter != NULL ? 1 : over ? -ECANCELED : 0;
}

/* ---- Its life ---- */

struct mailbox *mailbox_new(int *error)
{
	struct mailbox *mailbox = calloc(1, sizeof(*mailbox));
	int ends[2] = {-1, -1};

	*error = mailbox != NULL ? make_socket(ends) : -ENOMEM;
	if (*error < 0) {
		free(mailbox);
		return NULL;
	}
	mailbox->read_fd = ends[0];
	mailbox->write_fd = ends[1];
	mailbox->end = &mailbox->first;
	mailbox->own = true;
	pthread_mutex_init(&mailbox->lock, NULL);
	return mailbox;
}

void mailbox_shut(struct mailbox *mailbox)
{
	if (mailbox == NULL)
		return;
	lock(mailbox);
	empty_locked(mailbox);
	if (mailbox->read_fd >= 0) {
		close(mailbox->read_fd);
		close(mailbox->write_fd);
	}
	mailbox->read_fd = mailbox->write_fd = -1;
	unlock(mailbox);
}

void mailbox_free(struct mailbox *mailbox)
{
	if (mailbox == NULL)
		return;
	mailbox_shut(mailbox);
	pthread_mutex_destroy(&mailbox->lock);
	free(mailbox);
}

/* ---- Fork ---- */

void mailbox_before_fork(struct mailbox *mailbox)
{
	if (mailbox != NULL)
		pthread_mutex_lock(&mailbox->lock);
}

void mailbox_after_fork_parent(struct mailbox *mailbox)
{
	if (mailbox != NULL)
		pthread_mutex_unlock(&mailbox->lock);
}

/* The socket is shared with the parent until mailbox_own_socket(): it is not touched before. */
void mailbox_after_fork_child(struct mailbox *mailbox)
{
	if (mailbox == NULL)
		return;
	empty_locked(mailbox);
	mailbox->over = false;
	mailbox->own = mailbox->signalled = false;
	pthread_mutex_unlock(&mailbox->lock);
}

int mailbox_own_socket(struct mailbox *mailbox)
{
	int ends[2] = {-1, -1};

	if (mailbox == NULL)
		return 0;
	int error = make_socket(ends);
	if (error < 0)
		return error;
	if (dup3(ends[0], mailbox->read_fd, O_CLOEXEC) < 0 ||
	    dup3(ends[1], mailbox->write_fd, O_CLOEXEC) < 0)
		error = -errno;
	close(ends[0]);
	close(ends[1]);
	lock(mailbox);
	mailbox->own = error == 0;
	signal_locked(mailbox);
	unlock(mailbox);
	return error;
}
