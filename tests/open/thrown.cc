// SPDX-License-Identifier: LGPL-2.1-or-later
// A C++ program with thread=no whose `prepare` throws: the exception reaches the caller of dispatch
// or wait, the run has failed, and the handle goes on.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include <safestart/safestart.h>

static bool throws;

static int prepare(safestart_run *, void *)
{
	if (throws)
		throw std::runtime_error("no pool");
	return 0;
}

static void check(bool holds, const char *what)
{
	if (!holds)
		std::exit((std::fprintf(stderr, "FAILED: %s\n", what), 1));
}

static bool catches(int (*call)(safestart *ss, uint64_t ticket), safestart *ss, uint64_t ticket)
{
	try {
		call(ss, ticket);
	} catch (const std::runtime_error &) {
		return true;
	}
	return false;
}

static int by_dispatch(safestart *ss, uint64_t)
{
	return safestart_dispatch(ss, 60000);
}

static int by_wait(safestart *ss, uint64_t ticket)
{
	return safestart_wait(ss, ticket, 60000, nullptr);
}

int main()
{
	safestart_callbacks callbacks{};
	safestart_outcome outcome{};
	uint64_t ticket = 0;
	safestart *ss;

	callbacks.size = sizeof(callbacks);
	callbacks.prepare = prepare;
	outcome.size = sizeof(outcome);
	safestart_conf *conf = safestart_conf_new();
	safestart_conf_set_callbacks(conf, &callbacks, nullptr);
	safestart_conf_set(conf, "thread", "no", nullptr, 0);
	safestart_conf_set(conf, "debounce", "0", nullptr, 0);
	safestart_conf_set(conf, "retry_min", "0", nullptr, 0);
	check(safestart_open(&ss, conf, nullptr, 0) == 0, "open");
	safestart_conf_free(conf);
	for (auto call : {by_dispatch, by_wait}) {
		throws = true;
		safestart_dispatch(ss, 0);
		safestart_nodes_replace(ss, "[{\"targets\":[\"10.0.0.1:1\"]}]", &ticket, nullptr,
					0);
		check(catches(call, ss, ticket), "nothing was thrown");
		throws = false;
		check(safestart_wait(ss, ticket, 60000, &outcome) == 0, "no answer");
		check(outcome.verdict == SAFESTART_FAILED, outcome.message);
	}
	safestart_nodes_replace(ss, "[{\"targets\":[\"10.0.0.1:1\"]}]", &ticket, nullptr, 0);
	check(safestart_wait(ss, ticket, 60000, &outcome) == 0, "no answer afterwards");
	check(outcome.verdict == SAFESTART_APPLIED, outcome.message);
	check(safestart_close(ss) == 0, "close");
}
