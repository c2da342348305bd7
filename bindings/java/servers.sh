#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Two processes with the JDK's HttpServer take up, drain and lose real Redis nodes under load: no request fails, and
# `safestart wait --roster` sees each step in both. The command and the library have to be found.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../tests/install-packages" redis-server wrk python3
command -v mvn >/dev/null || "$here/../../tests/install-packages" openjdk-17-jdk-headless maven
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

# No two of them are the same, for all are held at the same time.
read -r first second one two three < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
ports = [str(one.getsockname()[1]) for one in sockets]
for one in sockets:
    one.close()
print(*ports)')

declare -A pids
redis() { # NAME PORT
	redis-server --port "$2" --bind 127.0.0.1 --save '' --dir "$work" >"$work/redis-$1.log" 2>&1 &
	started+=($!)
	pids[$1]=$!
	disown # bash says nothing when it is killed
	until redis-cli -p "$2" set greeting 'hello from redis' >"$work/redis-cli.log" 2>&1; do
		kill -0 "${pids[$1]}" 2>/dev/null || die "redis $1 did not start"
	done
}

redis one "$one"
redis two "$two"
mvn -q -B -ntp -f "$here/pom.xml" "-Dsafestart.target=$work/java" -Dmaven.test.skip=true package </dev/null >"$work/mvn.log" 2>&1 ||
	die "the jar was not built"
jar=$work/java/safestart-1.0.0.jar
javac -cp "$jar" -d "$work/classes" "$here/servers/Api.java"
echo '[]' >"$SAFESTART_NODES"
safestart announce one "127.0.0.1:$one" >"$work/steps.log"
safestart announce two "127.0.0.1:$two" >>"$work/steps.log"

loads=()
for port in "$first" "$second"; do
	rm -f "$work/says"
	mkfifo "$work/says"
	# Without it each answer waits 40 ms for an acknowledgement.
	java -Dsun.net.httpserver.nodelay=true -cp "$jar:$work/classes" Api "$port" >"$work/says" 2>"$work/api-$port.log" &
	started+=($!)
	disown
	read -r line <"$work/says" || true
	[ "$line" = listening ] || die "the server does not listen"
	wrk -t1 -c8 -d50s --timeout 5s "http://127.0.0.1:$port/" >"$work/wrk-$port.log" 2>&1 &
	loads+=($!)
	started+=($!)
done

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
kill -INT "${loads[@]}" || die "the load had ended before"
wait "${loads[@]}"
! grep -E 'Non-2xx|Socket errors' "$work"/wrk-*.log || die "requests failed"
grep -hE 'requests in' "$work"/wrk-*.log || die "there was no load"
echo "0 failed requests"
