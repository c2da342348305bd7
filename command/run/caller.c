/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* caller: makes the request, leads the run if it is this caller's turn, waits for the outcome and
 * reports it. One thread: it polls the handle, the signals and the supervisor. It neither knows the
 * command line nor where the locks are. */
#include "run/caller.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/report.h"
#include "run/command_lock.h"

#define GRACE_MS 10000     /* from SIGTERM to SIGKILL, after --timeout */
#define COMMAND_LOCK_MS 50 /* between checks whether the command of a killed caller has ended */
/* A caller that waits so long for another caller's command reports for which; with --timeout the
 * library does, after a part of that. */
#define REPORT_AFTER_MS 30000
#define FOREVER INT64_C(3153600000000000000)

/* ---- The handle ---- */

/* The library calls it when this caller leads the run; the command is started in wait_for_answer().
 */
static int on_restart(struct safestart_run *run, void *user_data)
{
	struct caller *caller = (struct caller *)user_data;

	caller->run = run;
	caller->leader = true;
	return SAFESTART_LATER;
}

/* Failures are part of the outcome; only warnings are reported here. */
static void on_log(int level, const char *message, void *user_data)
{
	struct caller *caller = (struct caller *)user_data;

	if (level != LOG_WARNING || caller->options->quiet || caller->closing)
		return;
	report(0, "%s", message);
	snprintf(caller->warning, sizeof(caller->warning), "%s", message);
}

static bool set(struct safestart_conf *conf, const char *key, const char *value)
{
	char why[512];

	if (safestart_conf_set(conf, key, value, why, sizeof(why)) == 0)
		return true;
	report(EXIT_INTERNAL, "%s", why);
	return false;
}

static bool set_ns(struct safestart_conf *conf, const char *key, int64_t ns)
{
	char value[32];

	snprintf(value, sizeof(value), "%lldns", (long long)ns);
	return set(conf, key, value);
}

/* A caller waits for the run in progress and then for its own: each may take --timeout, and then
 * GRACE_MS to end. */
static int64_t lock_timeout(const struct caller *caller)
{
	return caller->options->timeout > 0 && caller->options->timeout < FOREVER / 4
		       ? 2 * caller->options->timeout + INT64_C(60000000000)
		       : FOREVER;
}

/* The library keeps debounce and max_delay [P4]. retry_min=0: a command that failed is not
 * repeated; its exit code is the answer [P6]. The lock is held until the command has ended, also
 * after --timeout [P1]. */
static bool open_handle(struct caller *caller, const char *name, const char *lock)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .restart = on_restart,
						      .log = on_log};
	struct safestart_conf *conf = safestart_conf_new();
	char why[512] = "out of memory";
	int64_t max_delay = caller->options->max_delay >= 0 ? caller->options->max_delay
			    : caller->options->debounce > INT64_C(30000000000)
				    ? caller->options->debounce
				    : INT64_C(30000000000);

	bool ok = conf != NULL && set(conf, "name", name) && set(conf, "source", "none") &&
		  set(conf, "thread", "no") && set(conf, "lock", lock) &&
		  set(conf, "lock_share", "yes") &&
		  set_ns(conf, "debounce", caller->options->debounce) &&
		  set_ns(conf, "max_delay", max_delay) && set(conf, "retry_min", "0") &&
		  set_ns(conf, "run_timeout",
			 caller->options->timeout > 0 ? caller->options->timeout : FOREVER) &&
		  set_ns(conf, "lock_timeout", lock_timeout(caller)) &&
		  safestart_conf_set_callbacks(conf, &callbacks, caller) == 0;
	if (ok && safestart_open(&caller->ss, conf, why, sizeof(why)) < 0) {
		report(EXIT_INTERNAL, "%s", why);
		ok = false;
	}
	safestart_conf_free(conf);
	return ok;
}

/* ---- The command ---- */

/* Ends the run; the status becomes the outcome of every caller that it covers [P6]. */
static void finish(struct caller *caller, int status, int error)
{
	struct safestart_run *run = caller->run;

	caller->run = NULL;
	safestart_run_set_status(run, status);
	safestart_run_finish(run, error);
}

/* The lock is ours, and yet the command runs. */
static void report_left_command(struct caller *caller, pid_t pid)
{
	char which[32] = "";

	if (caller->reported_left)
		return;
	if (pid > 0)
		snprintf(which, sizeof(which), " (pid %ld)", (long)pid);
	report(0,
	       "the command is still running%s: its caller was killed, or the file NAME.lock was "
	       "removed; waiting for it to end",
	       which);
	caller->reported_left = true;
}

/* Starts the command of the run that this caller leads, unless the command of a killed caller is
 * still running. */
static void start_command(struct caller *caller)
{
	if (safestart_run_cancelled(caller->run)) {
		finish(caller, 0, -ETIMEDOUT);
		return;
	}
	pid_t left = command_lock_begin(caller->command_lock);
	if (left != 0) {
		report_left_command(caller, left);
		return;
	}
	const struct supervised supervised = {.arguments = caller->arguments,
					      .mask = &caller->mask,
					      .child = &caller->child,
					      .command_lock = caller->command_lock};
	int error = supervisor_start(&caller->supervisor, &supervised);
	if (error < 0) {
		report(0, "cannot create a process for the command: %s", safestart_strerror(error));
		command_lock_end(caller->command_lock);
		caller->failed = true;
		finish(caller, 0, error);
		return;
	}
	caller->started = true;
}

static bool is_leaving(const struct caller *caller)
{
	return caller->signal != 0 || caller->lost || caller->expired;
}

/* The command lock is released before the run ends, so that the next leader finds it free. */
static void read_supervisor(struct caller *caller)
{
	int status;

	if (!supervisor_read(&caller->supervisor, &status))
		return;
	command_lock_end(caller->command_lock);
	caller->status = status;
	caller->lost = status < 0;
	/* A command that fails after a signal to this caller, or of which nobody knows how it
	 * ended, says nothing to the others: they run it again, see leave() [P6]. */
	if (!is_leaving(caller) || status == 0)
		finish(caller, status, 0);
}

/* No outcome is recorded, so another caller leads the run for those that wait. */
static void leave(struct caller *caller)
{
	safestart_shutdown(caller->ss);
	finish(caller, 0, -ECANCELED);
}

/* After --timeout the command gets SIGTERM, GRACE_MS later SIGKILL [P14]. */
static void end_overdue_command(struct caller *caller)
{
	if (caller->supervisor.pid == 0 || !safestart_run_cancelled(caller->run))
		return;
	if (caller->term_at == 0) {
		caller->term_at = clock_ms();
		supervisor_signal(&caller->supervisor, SIGTERM);
	} else if (!caller->killed && clock_ms() - caller->term_at >= GRACE_MS) {
		caller->killed = true;
		supervisor_signal(&caller->supervisor, SIGKILL);
	}
}

/* A signal ends this caller, and the request stays. If it runs the command, the signal is passed
 * on, and this caller leaves when the command has ended. */
static void read_signals(struct caller *caller)
{
	struct signalfd_siginfo info;

	while (read(caller->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		caller->signal = (int)info.ssi_signo;
		/* The terminal sends ^C to the command itself. */
		if (caller->supervisor.pid != 0 && info.ssi_code != SI_KERNEL)
			supervisor_signal(&caller->supervisor, (int)info.ssi_signo);
	}
}

/* ---- Waiting ---- */

/* --wait-timeout limits the wait for other callers, not a command that this caller runs. */
static int64_t wait_left(const struct caller *caller)
{
	if (caller->options->wait_timeout == 0 || caller->started)
		return INT64_MAX;
	int64_t left = caller->asked_at + caller->options->wait_timeout / 1000000 - clock_ms();
	return left > 0 ? left : 0;
}

/* Milliseconds until something is due that no descriptor announces; -1: nothing is. */
static int poll_timeout(const struct caller *caller)
{
	int64_t left = wait_left(caller);

	if (caller->run != NULL && caller->supervisor.pid == 0) {
		left = left < COMMAND_LOCK_MS ? left : COMMAND_LOCK_MS;
	} else if (caller->term_at != 0 && !caller->killed) {
		left = caller->term_at + GRACE_MS - clock_ms();
		left = left > 0 ? left : 0;
	}
	return left <= INT_MAX ? (int)left : -1;
}

/* Reports once for which caller this one waits: of a command that hangs elsewhere it sees nothing.
 */
static void report_lock_holder(struct caller *caller)
{
	if (caller->report_at == 0 || caller->run != NULL || clock_ms() < caller->report_at)
		return;
	char *text = safestart_status_json(caller->ss);
	json_t *status = text != NULL ? json_loads(text, 0, NULL) : NULL;
	const json_t *lock = json_object_get(status, "lock");
	int64_t waited = strcmp(member_text(lock, "state"), "waiting") == 0
				 ? (int64_t)(member_number(lock, "since_seconds") * 1000)
				 : 0;

	caller->report_at = waited < REPORT_AFTER_MS ? clock_ms() + REPORT_AFTER_MS - waited : 0;
	if (caller->report_at == 0)
		report(0,
		       "still waiting after %lld s: the command is being run by %s and has not "
		       "ended; find out why it hangs. The wait continues; --timeout ends a command "
		       "that takes too long",
		       (long long)waited / 1000, member_text(lock, "holder"));
	json_decref(status);
	safestart_free(text);
}

/* Returns when the request is answered and no command of this caller is running. */
static int wait_for_answer(struct caller *caller, struct safestart_outcome *outcome)
{
	for (;;) {
		int result = safestart_wait(caller->ss, caller->ticket, 0, outcome);
		caller->expired = wait_left(caller) == 0;
		/* Not if a signal came in the moment in which the run began: it is for this caller,
		 * and the command would not get it. */
		if (caller->run != NULL && caller->supervisor.pid == 0 && !is_leaving(caller))
			start_command(caller);
		end_overdue_command(caller);
		report_lock_holder(caller);
		if (caller->run == NULL && (result != -ETIMEDOUT || is_leaving(caller)))
			return result;
		if (is_leaving(caller) && caller->supervisor.pid == 0) {
			leave(caller);
			continue;
		}
		struct pollfd polled[3] = {{.fd = safestart_fd(caller->ss), .events = POLLIN},
					   {.fd = caller->signals, .events = POLLIN},
					   {.fd = caller->supervisor.pid != 0
							  ? caller->supervisor.fd
							  : -1,
					    .events = POLLIN}};
		if (poll(polled, 3, poll_timeout(caller)) < 0)
			continue;
		/* Always, and first: ^C reached this caller before the command could end by it. */
		read_signals(caller);
		if (polled[2].revents != 0)
			read_supervisor(caller);
		safestart_dispatch(caller->ss, 0);
	}
}

/* The reason stands above already. A warning has the same words as the outcome up to "(", where the
 * setting is named. */
static bool is_told(const struct caller *caller, const struct safestart_outcome *outcome)
{
	char reason[sizeof(outcome->message)];

	snprintf(reason, sizeof(reason), "%s", outcome->message);
	char *setting = strstr(reason, " (");
	if (setting != NULL)
		*setting = '\0';
	return caller->failed || (caller->warning[0] != '\0' && reason[0] != '\0' &&
				  strstr(caller->warning, reason) != NULL);
}

/* Reports the outcome of the run that covered the request, led by this caller or another [P6]. */
static int report_outcome(const struct caller *caller, const struct safestart_outcome *outcome)
{
	char who[96];
	int code = outcome->verdict == SAFESTART_APPLIED     ? outcome->status
		   : outcome->verdict == SAFESTART_TIMED_OUT ? EXIT_TIMED_OUT
							     : EXIT_INTERNAL;

	if (caller->leader)
		snprintf(who, sizeof(who), "ran for %llu request%s",
			 (unsigned long long)outcome->requests, outcome->requests == 1 ? "" : "s");
	else
		snprintf(who, sizeof(who), "covered by a run of pid %d (%llu request%s)",
			 (int)outcome->pid, (unsigned long long)outcome->requests,
			 outcome->requests == 1 ? "" : "s");
	if (outcome->verdict == SAFESTART_APPLIED)
		return caller->options->quiet ? code : report(code, "%s: exit %d", who, code);
	if (outcome->error == -ETIMEDOUT && caller->leader && !caller->started)
		return report(code,
			      "not started within its --timeout: the command of an earlier caller "
			      "is still running: exit %d",
			      code);
	if (outcome->error == -ETIMEDOUT) /* other callers learn it at once, and know no more */
		return report(code, "%s: not finished within its --timeout%s: exit %d", who,
			      caller->leader ? ", and was ended" : "", code);
	if (is_told(caller, outcome))
		return report(code, "not run: exit %d", code);
	return report(code, "%s: exit %d", outcome->message, code);
}

/* This caller leaves without an outcome; the request stays. */
static int report_left(const struct caller *caller)
{
	if (caller->lost)
		return report(EXIT_INTERNAL,
			      "the supervisor of the command was killed, so it is not known how "
			      "the command ended; other callers still waiting will run it again: "
			      "exit %d",
			      EXIT_INTERNAL);
	if (caller->signal == 0)
		return report(EXIT_TIMED_OUT,
			      "not run within --wait-timeout; other callers still waiting will run "
			      "it: exit %d",
			      EXIT_TIMED_OUT);
	return report(caller->started ? caller->status : 128 + caller->signal,
		      "interrupted by SIG%s%s; other callers still waiting will run it",
		      caller->signal == SIGTERM  ? "TERM"
		      : caller->signal == SIGINT ? "INT"
						 : "HUP",
		      caller->started ? " while it ran the command" : "");
}

/* Everything is answered and reported. From here on a signal ends this process at once. */
static void close_handle(struct caller *caller)
{
	pthread_sigmask(SIG_SETMASK, &caller->mask, NULL);
	safestart_close(caller->ss);
}

/* The run that answers begins after this request [P2]. A signal ends the wait, not the request. */
int caller_ask(struct caller *caller, const char *name, const char *lock)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	if (!open_handle(caller, name, lock))
		return EXIT_INTERNAL;
	caller->report_at = caller->options->quiet || caller->options->timeout > 0
				    ? 0
				    : clock_ms() + REPORT_AFTER_MS;
	caller->asked_at = clock_ms();
	caller->ticket = safestart_request_restart(caller->ss);
	int result = wait_for_answer(caller, &outcome);
	bool left = is_leaving(caller) && (result < 0 || outcome.verdict == SAFESTART_CANCELLED);
	int code = left         ? report_left(caller)
		   : result < 0 ? report(EXIT_INTERNAL, "no answer: %s", safestart_strerror(result))
				: report_outcome(caller, &outcome);
	caller->closing = true;
	close_handle(caller);
	return code;
}
