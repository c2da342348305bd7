#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A server with node:http and cluster takes up, drains and loses real Redis nodes under load: no request fails, and
# `safestart wait --roster` sees each step in every process. The command and the library have to be found.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../tests/install-packages" redis-server wrk
work=$(mktemp -d)
started=()
cleanup() {
	for process in "${started[@]}"; do kill -9 "$process" || true; done
	rm -rf "$work"
}
trap 'cleanup 2>/dev/null' EXIT
export SAFESTART_NODES=$work/nodes.json SAFESTART_CONTROL=$work/control

die() {
	echo "servers.sh: $*" >&2
	tail -n 30 "$work"/*.log >&2
	exit 1
}

# No two of them are the same, for all are held at the same time, and free when they are printed.
read -r http one two three < <(node -e '
const servers = Array.from({ length: 4 }, () => require("node:net").createServer().listen(0, "127.0.0.1"));
setImmediate(() => {
  const ports = servers.map((server) => server.address().port);
  servers.forEach((server) => server.close());
  process.on("exit", () => console.log(ports.join(" ")));
});')

redis() { # NAME PORT
	redis-server --port "$2" --bind 127.0.0.1 --save '' --dir "$work" >"$work/redis-$1.log" 2>&1 &
	started+=($!)
	pids[$1]=$!
	disown # bash says nothing when it is killed
	until redis-cli -p "$2" set greeting 'hello from redis' >"$work/redis-cli.log" 2>&1; do
		kill -0 "${pids[$1]}" 2>/dev/null || die "redis $1 did not start"
	done
}

declare -A pids
redis one "$one"
redis two "$two"
"$here/setup" "$work/installed" </dev/null >"$work/setup.log" 2>&1 || die "the package was not installed"
echo '[]' >"$SAFESTART_NODES"
safestart announce one "127.0.0.1:$one" >"$work/steps.log"
safestart announce two "127.0.0.1:$two" >>"$work/steps.log"

mkfifo "$work/says"
NODE_PATH=$work/installed/node_modules node "$here/servers/api.js" "$http" >"$work/says" 2>"$work/api.log" &
started+=($!)
disown
read -r line <"$work/says" || true
[ "$line" = listening ] || die "the server does not listen"
wrk -t1 -c16 -d50s --timeout 5s "http://127.0.0.1:$http/" >"$work/wrk.log" 2>&1 &
wrk=$!
started+=("$wrk")

step() { # WORDS COMMAND…
	"${@:2}" >>"$work/steps.log" 2>&1 || die "failed: ${*:2}"
	echo "$1"
}

step "one is used by both processes" safestart wait one --roster api=2
step "two is used by both processes" safestart wait two --roster api=2
redis three "$three"
step "three is added, and used by both" safestart announce three "127.0.0.1:$three" --wait --roster api=2
step "one is drained, and no process has it any more" safestart drain one --for 10m --reason 'kernel update' --wait --roster api=2
kill -9 "${pids[one]}"
kill -9 "${pids[two]}"
echo "two is killed while it is used"
step "two is withdrawn" safestart withdraw two --wait
redis one "$one"
step "one is back, and used by both" safestart announce one "127.0.0.1:$one" --wait --roster api=2
kill -INT "$wrk" || die "the load had ended before"
wait "$wrk"
! grep -E 'Non-2xx|Socket errors' "$work/wrk.log" || die "requests failed"
grep -E 'requests in|Requests/sec' "$work/wrk.log" || die "there was no load"
echo "0 failed requests"
