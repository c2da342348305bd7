#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The server over real Redis nodes, under load: a node is added, one is drained, one is killed and comes back. No request may fail.
# The library is found by pkg-config, and `safestart` by PATH.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/../../tests/install-packages" redis-server wrk curl python3
work=$(mktemp -d)
started=()
cleanup() {
	[ ${#started[@]} -eq 0 ] || kill -KILL "${started[@]}" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

die() {
	echo "servers.sh: $*" >&2
	tail -n 20 "$work/log" >&2 || true
	exit 1
}

until_true() { # WHAT COMMAND…
	for _ in {1..300}; do
		! "${@:2}" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	die "never came: $1"
}

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$work/target}
(cd "$here" && cargo build --quiet --package server)
ln -s "$(realpath "$CARGO_TARGET_DIR")/debug/server" "$work/server"

# Four ports that are free now.
read -r -a ports < <(python3 -c '
import socket
all = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*[one.getsockname()[1] for one in all])')

redis() { # NUMBER
	redis-server --port "${ports[$1]}" --bind 127.0.0.1 --save '' --dir "$work" >/dev/null &
	redis_pid=$!
	started+=("$redis_pid")
	disown "$redis_pid" # or the shell says that it was killed
	until_true "redis $1" redis-cli -p "${ports[$1]}" ping
}

mkdir -m 700 "$work/control"
export SAFESTART_CONTROL=$work/control SAFESTART_NODES=$work/nodes.json
roster=(--roster shop=1 --timeout 20s)
redis 1
redis 2
second=$redis_pid
cat >"$SAFESTART_NODES" <<JSON
[{"targets": ["127.0.0.1:${ports[1]}"], "labels": {"id": "node-1"}}, {"targets": ["127.0.0.1:${ports[2]}"], "labels": {"id": "node-2"}}]
JSON
url=http://127.0.0.1:${ports[0]}
"$work/server" --listen "127.0.0.1:${ports[0]}" --set name=shop --set "source=file:$SAFESTART_NODES" --set "control=$SAFESTART_CONTROL" \
	--set debounce=50ms 2>"$work/log" &
server=$!
started+=("$server")
until_true "the server" curl -sf "$url/first"

# Every request another key, so that all nodes are asked.
printf 'request = function() return wrk.format("GET", "/" .. math.random(1000)) end\n' >"$work/load.lua"
wrk -t 2 -c 32 -d 12s -s "$work/load.lua" "$url" >"$work/wrk" &
load=$!
started+=("$load")
safestart wait node-1 "${roster[@]}"
safestart wait node-2 "${roster[@]}"
redis 3
safestart announce node-3 "127.0.0.1:${ports[3]}" >/dev/null
safestart wait node-3 "${roster[@]}"
safestart drain node-1 --for 10m --reason "a new kernel" --wait "${roster[@]}" >/dev/null
kill -KILL "$second"
until_true "node-2 is seen failing" bash -c '! safestart wait node-2 --roster shop=1 --timeout 0'
redis 2
safestart wait node-2 "${roster[@]}"
kill -0 "$load" || die "the load ended before the play"
wait "$load" || die "wrk failed"

grep -q 'Requests/sec' "$work/wrk" || die "wrk said: $(cat "$work/wrk")"
if grep -E 'Socket errors|Non-2xx' "$work/wrk"; then die "requests failed"; fi
kill -TERM "$server"
wait "$server" || die "the server ended with $?"
awk '/requests in/ { print $1 " requests, 0 failed" }' "$work/wrk"
