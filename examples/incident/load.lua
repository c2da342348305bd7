-- SPDX-License-Identifier: LGPL-2.1-or-later
--
-- The load of one API server, for wrk: one PUT to four GETs of payments that exist. LOAD_OUT names two files to be
-- written: .rate (one line for each quarter of a second in which something was answered) and .sum.
--
-- wrk connects again without a pause when a connection is refused, some 40,000 times a second. A real client would not:
-- so here the same pause follows a failed request as an answered one. Errors are counted by wrk itself.
local ffi = require("ffi")
ffi.cdef [[
	struct load_time { long s; long ns; };
	int clock_gettime(int clock, struct load_time *time);
	int poll(void *fds, unsigned long count, int timeout_ms);
]]

local out = os.getenv("LOAD_OUT")
local connections = tonumber(os.getenv("LOAD_CONNECTIONS"))
local payments = tonumber(os.getenv("LOAD_PAYMENTS"))
local pause_ms = tonumber(os.getenv("LOAD_PAUSE_MS"))

local CLOCK_MONOTONIC = 1
local time = ffi.new("struct load_time")
local rate, quarter, answered = nil, 0, 0
local in_flight = 0

local function this_quarter()
	ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
	return math.floor((tonumber(time.s) + tonumber(time.ns) / 1e9) * 4)
end

local function pass_quarter(now)
	if now == quarter then return end
	if answered > 0 then
		rate:write(string.format("%.2f %d\n", quarter / 4, answered))
		rate:flush()
	end
	quarter, answered = now, 0
end

function init()
	rate = io.open(out .. ".rate", "w")
	quarter = this_quarter()
	math.randomseed(quarter)
end

function delay()
	return pause_ms
end

function request()
	-- This connection has no request in flight, so at most the others have one each: more means that some were lost.
	if in_flight > connections - 1 then
		in_flight = connections - 1
		ffi.C.poll(nil, 0, math.max(1, math.floor(pause_ms / connections)))
	end
	in_flight = in_flight + 1
	local id = "seed-" .. math.random(payments)
	if math.random(5) == 1 then
		return wrk.format("PUT", "/payments/" .. id, nil, "the payment " .. id)
	end
	return wrk.format("GET", "/payments/" .. id)
end

function response()
	in_flight = in_flight - 1
	pass_quarter(this_quarter())
	answered = answered + 1
end

function done(summary, latency)
	local e = summary.errors
	local sum = io.open(out .. ".sum", "w")
	sum:write(string.format(
		'{"answered": %d, "not_2xx": %d, "socket_errors": %d, "timeouts": %d, "latency_max_us": %d, "latency_p99_us": %d}\n',
		summary.requests, e.status, e.connect + e.read + e.write, e.timeout, latency.max, latency:percentile(99)))
	sum:close()
end
