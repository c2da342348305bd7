/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run: a command that never runs twice at a time [P1], and once for all callers that ask together
 * [P3]. The verb: its command line, its help, its signals, and where its locks are. One thread. */
#include "run/run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/report.h"
#include "run/caller.h"
#include "run/command_lock.h"
#include "run/command_text.h"
#include "run/lock_directory.h"

static struct run_options options = {.debounce = INT64_C(2000000000), .max_delay = -1};

static const struct option_row rows[] = {
	{"name", "NAME", OPTION_TEXT, &options.name,
	 "callers with this name share a run (made from user and command)"},
	{"debounce", "DURATION", OPTION_DURATION, &options.debounce,
	 "quiet time after the newest request before the command runs (2s); 0: none"},
	{"max-delay", "DURATION", OPTION_DURATION, &options.max_delay,
	 "longest a request waits for quiet (30s)"},
	{"timeout", "DURATION", OPTION_DURATION, &options.timeout,
	 "end a command that takes longer: SIGTERM, 10 s later SIGKILL (never)"},
	{"wait-timeout", "DURATION", OPTION_DURATION, &options.wait_timeout,
	 "longest wait for the run, the debounce and runs of others included (no limit)"},
	{"no-wait", NULL, OPTION_FLAG, &options.no_wait,
	 "do nothing if another caller waits or runs the command"},
	{"lock-dir", "DIR", OPTION_TEXT, &options.lock_dir, "directory of the locks; see above"},
	{"quiet", NULL, OPTION_FLAG, &options.quiet,
	 "no message when the command has run or takes long elsewhere"},
	OPTION_END,
};

/* Options of run come first; those behind COMMAND belong to it. Returns the index of the first word
 * of the command. */
static int command_begins(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0 || strcmp(argv[i], "-c") == 0 || argv[i][0] != '-')
			return i;
		for (const struct option_row *row = rows; row->name != NULL; row++) {
			if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, row->name) == 0 &&
			    row->argument != NULL)
				i++;
		}
	}
	return argc;
}

/* SIGTERM, SIGINT and SIGHUP come through a descriptor; a signal that was ignored stays so. */
static int catch_signals(struct caller *caller)
{
	const struct sigaction normal = {.sa_handler = SIG_DFL};
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
	struct sigaction action;
	sigset_t caught;

	sigemptyset(&caught);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		/* nohup(1) */
		if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(&caught, numbers[i]);
	}
	/* Not ignored, or the supervisor could not wait for the command. */
	sigaction(SIGCHLD, &normal, &caller->child);
	pthread_sigmask(SIG_BLOCK, &caught, &caller->mask);
	return signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* It becomes part of a file name in the lock directory. */
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
			      "--name \"%s\": a name is part of a file name: no slash, no leading "
			      "dot, at most %d bytes",
			      name, NAME_MAX - 8);
	snprintf(lock, sizeof(lock), "%s/%s.lock", directory, name);
	snprintf(command_lock, sizeof(command_lock), "%s/%s.command", directory, name);
	caller->command_lock = command_lock_enter(command_lock, caller->arguments, options.no_wait,
						  why, sizeof(why));
	if (caller->command_lock == COMMAND_LOCK_BUSY)
		return report(EXIT_TIMED_OUT,
			      "not run: another caller with this name waits or runs the command, "
			      "and "
			      "--no-wait was given: exit %d",
			      EXIT_TIMED_OUT);
	if (caller->command_lock < 0)
		return report(EXIT_INTERNAL, "%s", why);
	int code = caller_ask(caller, name, lock);
	close(caller->command_lock);
	return code;
}

/* If standard input, output or error was closed at the start, no other file must get its number. */
static void fill_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* What a caller with a command has open at the same time, above the standard three. */
#define DESCRIPTORS 10

/* Fails now rather than in the middle of a run. */
static bool has_descriptors(void)
{
	int fds[DESCRIPTORS], count = 0;

	while (count < DESCRIPTORS && (fds[count] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)) >= 0)
		count++;
	int error = errno;
	for (int i = 0; i < count; i++)
		close(fds[i]);
	if (count < DESCRIPTORS)
		report(EXIT_INTERNAL, "%s: %d more must be allowed (ulimit -n); not run: exit %d",
		       safestart_strerror(error), DESCRIPTORS - count, EXIT_INTERNAL);
	return count == DESCRIPTORS;
}

static int run_main(int argc, char **argv)
{
	struct caller caller = {.options = &options, .supervisor = {.fd = -1, .command = -1}};
	char name[128], directory[PATH_MAX - NAME_MAX], why[PATH_MAX + 200];
	int at = command_begins(argc, argv), first, code;

	fill_standard_descriptors();
	if (!has_descriptors())
		return EXIT_INTERNAL;
	if (!options_parse(&verb_run, at, argv, 0, 0, &first, &code))
		return code == 0 ? 0 : EXIT_INTERNAL;
	at += at < argc && strcmp(argv[at], "--") == 0;
	if (at >= argc)
		return report(EXIT_INTERNAL, "no command given; usage: safestart run %s",
			      verb_run.arguments);
	char *shell[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, NULL, NULL};
	caller.arguments = argv + at;
	if (strcmp(argv[at], "-c") == 0) {
		if (argc - at != 2)
			return report(EXIT_INTERNAL, "-c takes one string for the shell, as the "
						     "last word; quote it");
		shell[2] = argv[at + 1];
		caller.arguments = shell;
	}
	if (!lock_directory(options.lock_dir, directory, sizeof(directory), why, sizeof(why)))
		return report(EXIT_INTERNAL, "%s", why);
	caller.signals = catch_signals(&caller);
	if (caller.signals < 0)
		return report(EXIT_INTERNAL, "cannot create a descriptor: %s",
			      safestart_strerror(errno));
	command_text_name(caller.arguments, name, sizeof(name));
	return run_named(&caller, options.name != NULL ? options.name : name, directory);
}

const struct verb verb_run = {
	.name = "run",
	.main = run_main,
	.help = "run a command: never twice at a time, once for all callers together",
	.arguments = "[--] COMMAND [ARGUMENT...]",
	.text = "For what people use `flock FILE COMMAND`. Requests with the same name in close "
		"succession, from any number of processes, become one run of COMMAND; requests "
		"during a run become exactly one more. Every caller waits, and exits with the exit "
		"code of the run that covered its request: a run that began after the request. "
		"`-c STRING` instead of COMMAND runs `/bin/sh -c STRING`. Without --timeout, a "
		"caller that waits for another caller's run for 30 s reports "
		"which caller that is.\n\n"
		"One of the callers runs COMMAND; the output of COMMAND goes to that caller's "
		"output. SIGTERM, SIGINT and SIGHUP to that caller, and ^C at its terminal, are "
		"passed on to COMMAND; if COMMAND fails after that, only this caller ends with "
		"its exit code, and COMMAND is run again for the others that still wait. The same "
		"signals end any other caller, and its request stays. If the caller that runs "
		"COMMAND is "
		"killed, COMMAND runs to its end, and the next caller runs it once more for those "
		"still waiting. What COMMAND leaves running in the background holds no lock, but "
		"if a signal has ended COMMAND, or COMMAND fails after one was passed on to it, "
		"the run ends only when all that COMMAND has started in its process group has "
		"ended too; that gets the signal as well.\n\n"
		"Using a name for a different command, or for the same command in another "
		"directory or with another PATH, while callers with that name are waiting or "
		"running is an error: the outcome of one would not be true for the other. Give "
		"every command a --name: without one, callers that write the command differently "
		"do not know of each other. A call inside of COMMAND with the name of COMMAND is "
		"an error, too: it would wait for its own end.\n\n"
		"The locks are in --lock-dir, else in $SAFESTART_LOCKS, else in "
		"/run/safestart-locks for root, else in /tmp/safestart-UID. Callers must use the "
		"same directory to coordinate: a service with PrivateTmp=yes or in a container has "
		"its own /tmp, and needs --lock-dir. Several users share a name if root prepares "
		"its files: `touch NAME.lock NAME.command` and `chmod 0666` in a directory where "
		"only root can write; each of these users can then hold the lock, and must be "
		"trusted not to.",
	.options = rows,
	.examples = {"From every hook, playbook and shell",
		     "safestart run --name api -- systemctl restart api",
		     "One name for several ways to request the same",
		     "safestart run --name api --debounce 5s --timeout 2m -- reload-api", NULL},
	.exits = {{0, "COMMAND succeeded; every other code is that of COMMAND, 128+n if signal n "
		      "ended it"},
		  {EXIT_TIMED_OUT, "timed out, or --no-wait and another caller is there"},
		  {EXIT_INTERNAL, "safestart run itself failed"},
		  {126, "COMMAND cannot be executed"},
		  {127, "COMMAND was not found"},
		  {0, NULL}},
};
