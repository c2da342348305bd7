/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apiserver - an API server that keeps payments on storage nodes (Redis), and adds and removes
 * nodes while it serves.
 *
 * main: the command line, the signals, and the order in which things start and stop.
 */
#define _GNU_SOURCE 1
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "http.h"
#include "log.h"
#include "nodes.h"
#include "pidfile.h"

#define SETTINGS_MAX 32
#define READY_MS 10000

struct options {
	unsigned port;
	unsigned threads;
	unsigned warmup_ms;
	bool read_once;
	const char *nodes;
	const char *pid_file;
	char *settings[SETTINGS_MAX];
	size_t settings_count;
};

static struct safestart *handle; /* set before SIGHUP is unblocked, never changed after */

static const char usage[] =
	"usage: apiserver --port PORT --nodes FILE [OPTION]...\n"
	"  --port PORT        listen on 127.0.0.1, this port\n"
	"  --nodes FILE       the storage nodes, as Prometheus file_sd JSON\n"
	"  --set KEY=VALUE    a setting of libsafestart; may be given more than once\n"
	"  --pid-file FILE    refuse to start if FILE names a running process\n"
	"  --threads N        threads that answer requests (8)\n"
	"  --warmup MS        sleep before it listens; real servers load code and fill caches (0)\n"
	"  --read-once        read the nodes once, at start: a change then needs a restart\n"
	"SIGHUP re-reads the nodes, SIGTERM stops the server.\n";

/* True when text is a whole number in range. */
static bool number(const char *text, unsigned least, unsigned most, unsigned *out)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	*out = (unsigned)value;
	return *text >= '0' && *text <= '9' && !*end && value >= least && value <= most;
}

static bool parse_one(struct options *options, int option)
{
	switch (option) {
	case 'p': return number(optarg, 1, 65535, &options->port);
	case 'n': options->nodes = optarg; return true;
	case 's':
		if (options->settings_count == SETTINGS_MAX)
			return false;
		options->settings[options->settings_count++] = optarg;
		return true;
	case 'P': options->pid_file = optarg; return true;
	case 't': return number(optarg, 1, 1024, &options->threads);
	case 'w': return number(optarg, 0, 600000, &options->warmup_ms);
	case 'o': options->read_once = true; return true;
	default: return false;
	}
}

static bool parse(struct options *options, int argc, char **argv)
{
	static const struct option table[] = {
		{"port", required_argument, NULL, 'p'},
		{"nodes", required_argument, NULL, 'n'},
		{"set", required_argument, NULL, 's'},
		{"pid-file", required_argument, NULL, 'P'},
		{"threads", required_argument, NULL, 't'},
		{"warmup", required_argument, NULL, 'w'},
		{"read-once", no_argument, NULL, 'o'},
		{NULL, 0, NULL, 0},
	};
	int option;

	*options = (struct options){.threads = 8};
	/* There is one thread so far. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while ((option = getopt_long(argc, argv, "", table, NULL)) >= 0)
		if (!parse_one(options, option))
			return false;
	return optind == argc && options->port && options->nodes;
}

/* Allowed in a signal handler, as often as you like: it takes no lock and allocates nothing. */
static void on_hangup(int signal)
{
	(void)signal;
	safestart_request_restart(handle);
}

static void unblock_hangup(void)
{
	struct sigaction action = {.sa_handler = on_hangup, .sa_flags = SA_RESTART};
	sigset_t hangup;

	sigaction(SIGHUP, &action, NULL);
	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	pthread_sigmask(SIG_UNBLOCK, &hangup, NULL);
}

/* The signal is blocked, so one that came earlier is pending: a SIGTERM during the warm-up stops
 * the server after the warm-up, as in most servers. */
static bool told_to_stop(const sigset_t *stop)
{
	static const struct timespec at_once;

	return sigtimedwait(stop, NULL, &at_once) > 0;
}

static void warm_up(unsigned ms)
{
	struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	while (nanosleep(&rest, &rest) < 0)
		;
}

static void log_why_not_ready(int error)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	bool known = safestart_last_outcome(handle, &outcome) == 0;

	log_line(LOG_ERR, "not starting: no usable storage nodes within %d s: %s", READY_MS / 1000,
		 known ? outcome.message : safestart_strerror(error));
}

static int serve(const struct options *options, const sigset_t *stop)
{
	struct http *http;
	char why[256];
	int r, signal;

	r = safestart_wait_ready(handle, READY_MS);
	if (r < 0) {
		log_why_not_ready(r);
		return 1;
	}
	warm_up(options->warmup_ms);
	if (told_to_stop(stop)) {
		log_line(LOG_NOTICE, "stopping: SIGTERM or SIGINT came during the start");
		return 0;
	}
	http = http_start(handle, (uint16_t)options->port, options->threads, why, sizeof(why));
	if (!http) {
		log_line(LOG_ERR, "%s", why);
		return 1;
	}
	log_line(LOG_NOTICE, "serving on http://127.0.0.1:%u/", options->port);
	sigwait(stop, &signal);
	log_line(LOG_NOTICE, "stopping: finishing the requests in progress");
	http_stop(http);
	return 0;
}

static int run(const struct options *options, const sigset_t *stop)
{
	char why[256];
	int r = nodes_open(&handle, options->nodes, options->settings, options->settings_count,
			   options->read_once, why, sizeof(why));

	if (r < 0) {
		log_line(LOG_ERR, "%s", why);
		r = 1;
	} else {
		unblock_hangup();
		r = serve(options, stop);
	}
	signal(SIGHUP, SIG_IGN); /* the handle is freed below */
	while (safestart_close(handle) < 0)
		log_line(LOG_WARNING, "still waiting for a reload to end");
	return r;
}

int main(int argc, char **argv)
{
	struct options options;
	sigset_t blocked, stop;
	char why[256];
	int r;

	if (!parse(&options, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	/* Blocked before any thread exists, so that all threads inherit it: no signal ends the
	 * process during the start. */
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	blocked = stop;
	sigaddset(&blocked, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGPIPE, SIG_IGN);

	if (options.pid_file && pidfile_take(options.pid_file, why, sizeof(why)) < 0) {
		log_line(LOG_ERR, "%s", why);
		return 1;
	}
	r = run(&options, &stop);
	if (options.pid_file)
		pidfile_drop(options.pid_file);
	return r;
}
