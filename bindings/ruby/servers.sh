#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Puma, with two workers, with and without preload_app!, answers from real Redis servers while wrk loads it: nodes are added, drained,
# restarted and killed, and no request may fail. The library is found by pkg-config, the command `safestart` beside it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../tests/install-packages" ruby ruby-dev puma redis-server wrk curl gcc libc6-dev make pkg-config
# A library that is not where the system looks.
LD_LIBRARY_PATH=$(pkg-config --variable=libdir libsafestart)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
scratch=$(mktemp -d)
pids=()
trap 'kill -KILL "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$scratch"' EXIT
PATH="$(pkg-config --variable=prefix libsafestart)/bin:$PATH"
export PATH NODES="$scratch/nodes.json" SAFESTART_CONTROL="$scratch/control" SAFESTART_NODES="$scratch/nodes.json"
"$here/build.sh" "$scratch/ext" >/dev/null

ports() { ruby -rsocket -e 'puts Array.new(4) { TCPServer.new("127.0.0.1", 0) }.map { |s| s.addr[1] }.join(" ")'; }
redis() { # NAME: starts it at its port; its process is redis_NAME
	redis-server --port "${port[$1]}" --bind 127.0.0.1 --save '' --dir "$scratch" >/dev/null &
	pids+=($!)
	declare -g "redis_$1=$!"
	until redis-cli -p "${port[$1]}" ping >/dev/null 2>&1; do sleep 0.05; done
}
end() { # NAME
	local process="redis_$1"
	kill -KILL "${!process}"
	wait "${!process}" 2>/dev/null || true
}
in_use() { safestart wait "$1" --roster api=2 --announced-in "$NODES" --timeout 20s; }

declare -A port
play() {
	read -r "port[a]" "port[b]" "port[c]" http <<<"$(ports)"
	rm -rf "$NODES" "$SAFESTART_CONTROL"
	echo '[]' >"$NODES"
	redis a
	redis b
	safestart announce a "127.0.0.1:${port[a]}" >/dev/null
	safestart announce b "127.0.0.1:${port[b]}" >/dev/null
	ruby -I "$scratch/ext" -I "$here/lib" "$(command -v puma)" -q -C "$here/servers/puma.rb" -b "tcp://127.0.0.1:$http" "$here/servers/config.ru" >"$scratch/puma" 2>&1 &
	local puma=$!
	pids+=("$puma")
	until safestart wait a --applied --roster api=2 --timeout 1s >/dev/null 2>&1; do kill -0 "$puma" || { cat "$scratch/puma"; exit 1; }; done
	until curl -fs "http://127.0.0.1:$http/" >/dev/null; do sleep 0.05; done
	wrk -t 1 -c 8 -d 6s "http://127.0.0.1:$http/" >"$scratch/wrk" &
	local wrk=$!
	in_use a
	in_use b
	redis c
	safestart announce c "127.0.0.1:${port[c]}" >/dev/null
	in_use c
	safestart drain a --for 1m --reason 'a test' --wait --timeout 20s
	end a
	redis a
	safestart announce a "127.0.0.1:${port[a]}" >/dev/null
	in_use a
	end b # without a word
	wait "$wrk"
	in_use a
	in_use c
	kill -TERM "$puma"
	wait "$puma" || true
	end a
	end c
	grep 'requests in' "$scratch/wrk"
	if grep -E 'Non-2xx|Socket errors' "$scratch/wrk" || grep -E '\[BUG\]|rror' "$scratch/puma"; then
		echo "FAILED: $1" >&2
		exit 1
	fi
	echo "$1: no request failed"
}

PRELOAD=no play "puma, two workers"
PRELOAD=yes play "puma, two workers, preload_app!"
