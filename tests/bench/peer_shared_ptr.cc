// SPDX-License-Identifier: LGPL-2.1-or-later
// How C++ itself replaces a set while threads read it: a shared pointer that is loaded atomically.
#include "peers.h"

#include <atomic>
#include <memory>

namespace
{
std::atomic<std::shared_ptr<std::size_t>> exchanged{std::make_shared<std::size_t>(1)};
std::shared_ptr<std::size_t> loaded = std::make_shared<std::size_t>(1);

template <typename pointer> void use(const pointer &value)
{
	__asm__ volatile("" : : "r"(*value) : "memory");
}
} // namespace

void bench_atomic_shared_ptr(void *, std::size_t times)
{
	for (std::size_t i = 0; i < times; i++)
		use(exchanged.load());
}

void bench_load_shared_ptr(void *, std::size_t times)
{
	for (std::size_t i = 0; i < times; i++)
		use(std::atomic_load(&loaded));
}
