/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run: a command that never runs twice at a time, and once for all who ask together: a handle
 * without nodes, with a lock whose outcomes are shared (lock_share=yes), and a `restart` that is
 * the command. One thread: it polls the handle, the signals and the supervisor of the command. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <safestart/safestart.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "run/command_lock.h"
#include "run/run.h"
#include "run/supervisor.h"

#define EXIT_TIMED_OUT 124 /* as timeout(1) and env(1) have them */
#define EXIT_INTERNAL 125
#define GRACE_MS 10000     /* from SIGTERM to SIGKILL */
#define COMMAND_LOCK_MS 50 /* between looks whether a command that was left running has ended */
#define REPORT_AFTER_MS                                                                           \
	30000 /* who waits so long for another one's command is told for whom; with --timeout the \
		 handle tells, in proportion */
#define FOREVER INT64_C(3153600000000000000)

static struct {
	const char *name, *lock_dir;
	int64_t debounce, max_delay, timeout;
	bool quiet;
} options = {.debounce = INT64_C(2000000000), .max_delay = -1};

struct caller {
	char **arguments;
	struct safestart *ss;
	uint64_t ticket;
	sigset_t mask; /* as we were started: the command gets them so */
	struct sigaction child;
	int signals;
	int command_lock;
	struct supervisor supervisor;
	struct safestart_run *run; /* ours, not finished */
	bool leader;               /* the run was ours */
	bool started;              /* and so was the command */
	int64_t term_at;           /* the command was told to end; 0: not */
	bool killed;
	bool reported_left; /* that a command of a killed caller is still running */
	/* Look whether it is time to say whom we wait for; 0: that was said, or is not to be. */
	int64_t report_at;
	int signal;   /* a signal that ends us */
	bool closing; /* all that matters was said */
};

/* ---- The handle ---- */

static int on_restart(struct safestart_run *run, void *user_data)
{
	struct caller *caller = (struct caller *)user_data;

	caller->run = run;
	caller->leader = true;
	return SAFESTART_LATER;
}

/* Failures are in the outcome; what is only said here are warnings. */
static void on_log(int level, const char *message, void *user_data)
{
	const struct caller *caller = (const struct caller *)user_data;

	if (level == LOG_WARNING && !options.quiet && !caller->closing)
		report(0, "%s", message);
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

/* Who waits does so for the run in progress and then for its own: each may take --timeout and be
 * slow to end. */
static int64_t lock_timeout(void)
{
	return options.timeout > 0 && options.timeout < FOREVER / 4
		       ? 2 * options.timeout + INT64_C(60000000000)
		       : FOREVER;
}

static bool open_handle(struct caller *caller, const char *name, const char *lock)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .restart = on_restart,
						      .log = on_log};
	struct safestart_conf *conf = safestart_conf_new();
	char why[512] = "out of memory";
	int64_t max_delay = options.max_delay >= 0                    ? options.max_delay
			    : options.debounce > INT64_C(30000000000) ? options.debounce
								      : INT64_C(30000000000);

	bool fine = conf != NULL && set(conf, "name", name) && set(conf, "source", "none") &&
		    set(conf, "thread", "no") && set(conf, "lock", lock) &&
		    set(conf, "lock_share", "yes") && set_ns(conf, "debounce", options.debounce) &&
		    set_ns(conf, "max_delay", max_delay) && set(conf, "retry_min", "0") &&
		    set_ns(conf, "run_timeout", options.timeout > 0 ? options.timeout : FOREVER) &&
		    set_ns(conf, "lock_timeout", lock_timeout()) &&
		    safestart_conf_set_callbacks(conf, &callbacks, caller) == 0;
	if (fine && safestart_open(&caller->ss, conf, why, sizeof(why)) < 0) {
		report(EXIT_INTERNAL, "%s", why);
		fine = false;
	}
	safestart_conf_free(conf);
	return fine;
}

/* ---- The command ---- */

static void finish(struct caller *caller, int status, int error)
{
	struct safestart_run *run = caller->run;

	caller->run = NULL;
	safestart_run_set_status(run, status);
	safestart_run_finish(run, error);
}

/* The run is ours: start the command, unless that of a caller who was killed is still at it. */
static void start_command(struct caller *caller)
{
	if (safestart_run_cancelled(caller->run)) {
		finish(caller, 0, -ETIMEDOUT);
		return;
	}
	if (!command_lock_begin(caller->command_lock)) {
		if (!caller->reported_left)
			report(0,
			       "the command of a caller that was killed is still running; waiting "
			       "for it to end");
		caller->reported_left = true;
		return;
	}
	int error = supervisor_start(&caller->supervisor, caller->arguments, &caller->mask,
				     &caller->child);
	if (error < 0) {
		report(0, "no process to be had for the command: %s", safestart_strerror(error));
		command_lock_end(caller->command_lock);
		finish(caller, 0, error);
		return;
	}
	caller->started = true;
}

static void read_supervisor(struct caller *caller)
{
	int status;

	if (!supervisor_read(&caller->supervisor, &status))
		return;
	command_lock_end(caller->command_lock);
	finish(caller, status, 0);
}

/* Past --timeout it is told to end, and after a while made to. */
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

/* While the command runs it gets the signals; before and elsewhere they end us, and the request
 * stays. */
static void read_signals(struct caller *caller)
{
	struct signalfd_siginfo info;

	while (read(caller->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (caller->supervisor.pid == 0)
			caller->signal = (int)info.ssi_signo;
		else if (info.ssi_code !=
			 SI_KERNEL) /* ^C at the terminal reaches the command by itself */
			supervisor_signal(&caller->supervisor, (int)info.ssi_signo);
	}
}

/* ---- Waiting ---- */

static int poll_timeout(const struct caller *caller)
{
	if (caller->run != NULL && caller->supervisor.pid == 0)
		return COMMAND_LOCK_MS;
	if (caller->term_at != 0 && !caller->killed) {
		int64_t left = caller->term_at + GRACE_MS - clock_ms();
		return left > 0 ? (int)left : 0;
	}
	return -1;
}

/* Whoever waits behind a command that hangs sees nothing of it. Said once; comes by again and
 * again, as the lock is tried. */
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
		       "waiting for %lld s now: the command is being run by %s, and has not ended; "
		       "look what that one hangs at. The wait goes on; with --timeout a command is "
		       "ended that takes too long",
		       (long long)waited / 1000, member_text(lock, "holder"));
	json_decref(status);
	safestart_free(text);
}

/* Until the request is answered and no command of ours is left. */
static int wait_for_answer(struct caller *caller, struct safestart_outcome *outcome)
{
	for (;;) {
		int result = safestart_wait(caller->ss, caller->ticket, 0, outcome);
		/* Not when a signal has come in the very moment that the run was ours: it is for
		 * us, and nobody would pass it on. */
		if (caller->run != NULL && caller->supervisor.pid == 0 && caller->signal == 0)
			start_command(caller);
		end_overdue_command(caller);
		report_lock_holder(caller);
		if (caller->run == NULL && (result != -ETIMEDOUT || caller->signal != 0))
			return result;
		if (caller->signal != 0 && caller->supervisor.pid == 0) {
			/* Nothing is written down: the others run it. */
			safestart_shutdown(caller->ss);
			finish(caller, 0, -ECANCELED);
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
		if (polled[1].revents != 0)
			read_signals(caller);
		if (polled[2].revents != 0)
			read_supervisor(caller);
		safestart_dispatch(caller->ss, 0);
	}
}

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
		return options.quiet ? code : report(code, "%s: exit %d", who, code);
	if (outcome->error == -ETIMEDOUT && caller->leader && !caller->started)
		return report(code,
			      "not begun within its --timeout: the command of a caller that was "
			      "killed is still running: exit %d",
			      code);
	if (outcome->error == -ETIMEDOUT) /* the others are told at once, and know no more */
		return report(code, "%s: not done within its --timeout%s: exit %d", who,
			      caller->leader ? ", and was ended" : "", code);
	return report(code, "%s: exit %d", outcome->message, code);
}

static int ask_and_wait(struct caller *caller)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	caller->report_at = options.quiet || options.timeout > 0 ? 0 : clock_ms() + REPORT_AFTER_MS;
	caller->ticket = safestart_request_restart(caller->ss);
	int result = wait_for_answer(caller, &outcome);
	bool left = caller->signal != 0 && (result < 0 || outcome.verdict == SAFESTART_CANCELLED);
	int code;
	if (left)
		code = report(128 + caller->signal,
			      "left at signal %d; the request stays, if others wait with it",
			      caller->signal);
	else if (result < 0)
		code = report(EXIT_INTERNAL, "no answer: %s", safestart_strerror(result));
	else
		code = report_outcome(caller, &outcome);
	caller->closing = true;
	safestart_close(caller->ss);
	return code;
}

/* ---- The verb ---- */

static const struct option_row rows[] = {
	{"name", "NAME", OPTION_TEXT, &options.name,
	 "what is run once for all; not given: made from user, directory and command"},
	{"debounce", "DURATION", OPTION_DURATION, &options.debounce,
	 "quiet time after the newest request before the command runs: 2s; 0: at once"},
	{"max-delay", "DURATION", OPTION_DURATION, &options.max_delay,
	 "longest a request waits for quiet: 30s"},
	{"timeout", "DURATION", OPTION_DURATION, &options.timeout,
	 "end a command that takes longer: SIGTERM, 10s later SIGKILL; else: never"},
	{"lock-dir", "DIR", OPTION_TEXT, &options.lock_dir, "where the locks are; see below"},
	{"quiet", NULL, OPTION_FLAG, &options.quiet,
	 "say nothing when the command has run, or takes long elsewhere"},
	OPTION_END,
};

/* Options come first; the command's own are its own. Returns where the command begins. */
static int command_begins(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0 || argv[i][0] != '-')
			return i;
		for (const struct option_row *row = rows; row->name != NULL; row++) {
			if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, row->name) == 0 &&
			    row->argument != NULL)
				i++;
		}
	}
	return argc;
}

static int catch_signals(struct caller *caller)
{
	const struct sigaction normal = {.sa_handler = SIG_DFL};
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
	struct sigaction action;
	sigset_t caught;

	sigemptyset(&caught);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		/* Nohup means it. */
		if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(&caught, numbers[i]);
	}
	/* Or the supervisor could not wait for the command. */
	sigaction(SIGCHLD, &normal, &caller->child);
	pthread_sigmask(SIG_BLOCK, &caught, &caller->mask);
	return signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* One that makes a path in the directory. */
static bool is_valid_name(const char *name)
{
	return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL &&
	       strlen(name) <= NAME_MAX - 8;
}

static int run_named(struct caller *caller, const char *name, const char *directory)
{
	char why[1200], lock[PATH_MAX], command_lock[PATH_MAX];

	if (!is_valid_name(name))
		return report(EXIT_INTERNAL,
			      "--name \"%s\": a name is part of a file's name; write no slash, no "
			      "dot "
			      "in front, and at most %d bytes",
			      name, NAME_MAX - 8);
	snprintf(lock, sizeof(lock), "%s/%s.lock", directory, name);
	snprintf(command_lock, sizeof(command_lock), "%s/%s.command", directory, name);
	caller->command_lock =
		command_lock_enter(command_lock, caller->arguments, why, sizeof(why));
	if (caller->command_lock < 0)
		return report(EXIT_INTERNAL, "%s", why);
	int code = EXIT_INTERNAL;
	if (open_handle(caller, name, lock))
		code = ask_and_wait(caller);
	close(caller->command_lock);
	return code;
}

/* Started with standard input, output or error closed: nothing of ours must get their numbers. */
static void fill_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int run_main(int argc, char **argv)
{
	struct caller caller = {.supervisor = {.fd = -1, .command = -1}};
	char name[128], directory[PATH_MAX - NAME_MAX], why[PATH_MAX + 200];
	int at = command_begins(argc, argv), first, code;

	fill_standard_descriptors();
	if (!options_parse(&verb_run, at, argv, 0, 0, &first, &code))
		return code == 0 ? 0 : EXIT_INTERNAL;
	at += at < argc && strcmp(argv[at], "--") == 0;
	if (at >= argc)
		return report(EXIT_INTERNAL, "there is no command; it is: safestart run %s",
			      verb_run.arguments);
	caller.arguments = argv + at;
	if (!command_lock_directory(options.lock_dir, directory, sizeof(directory), why,
				    sizeof(why)))
		return report(EXIT_INTERNAL, "%s", why);
	caller.signals = catch_signals(&caller);
	if (caller.signals < 0)
		return report(EXIT_INTERNAL, "no descriptor to be had: %s",
			      safestart_strerror(errno));
	command_lock_name(caller.arguments, name, sizeof(name));
	return run_named(&caller, options.name != NULL ? options.name : name, directory);
}

const struct verb verb_run = {
	.name = "run",
	.main = run_main,
	.help = "run a command: never twice at a time, once for all who ask together",
	.arguments = "[--] COMMAND [ARGUMENT...]",
	.text = "What people write `flock FILE COMMAND` for. Requests by the same name that come "
		"in close succession, from any number of processes, are "
		"one run of COMMAND; those that come while it runs are one more. Everybody waits, "
		"and exits with the exit code of the run that covered their request: one that "
		"began after they asked. Who waits for another one's run for 30 s is told whose it "
		"is, where no --timeout ends it.\n\n"
		"COMMAND's output is that of the caller who runs it. SIGTERM, SIGINT and SIGHUP to "
		"that one are passed on to COMMAND; to another they mean to leave, the "
		"request stays. If the caller is killed, COMMAND runs to its end, and the next one "
		"runs it for who still waits. What COMMAND leaves behind in the background "
		"holds no lock.\n\n"
		"The same name with another command, while others are inside, is an error.\n\n"
		"The locks are in --lock-dir, else $SAFESTART_LOCKS, else /run/safestart-locks for "
		"root, else /tmp/safestart-UID. Callers only know of "
		"each other where that is one directory: a service with PrivateTmp=yes or in a "
		"container has a /tmp of its own, and needs --lock-dir.",
	.options = rows,
	.examples = {"From every hook, playbook and hand", "safestart run -- systemctl restart api",
		     "One name for what is asked for in several ways",
		     "safestart run --name api --debounce 5s --timeout 2m -- "
		     "/usr/local/bin/reload-api",
		     NULL},
	.exits = {{0, "COMMAND's own exit code, 128+n if it died of signal n"},
		  {EXIT_TIMED_OUT, "timed out"},
		  {EXIT_INTERNAL, "safestart run itself failed"},
		  {126, "COMMAND can't be executed"},
		  {127, "COMMAND was not found"},
		  {0, NULL}},
};
