#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# php-fpm with two workers, behind nginx, answers from real Redis servers while wrk loads it: nodes are added, drained, restarted and
# killed, and no request may fail. The library is found by pkg-config, the command `safestart` beside it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../tests/install-packages" php-cli php-dev php-fpm nginx redis-server wrk curl gcc libc6-dev make pkg-config
# A library that is not where the system looks.
LD_LIBRARY_PATH=$(pkg-config --variable=libdir libsafestart)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
scratch=$(mktemp -d)
pids=()
trap 'kill -TERM "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$scratch"' EXIT
PATH="$(pkg-config --variable=prefix libsafestart)/bin:$PATH"
export PATH SAFESTART_CONTROL="$scratch/control" SAFESTART_NODES="$scratch/nodes.json"
"$here/build.sh" "$scratch/ext"

declare -A port
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
in_use() { safestart wait "$1" --roster api=2 --announced-in "$SAFESTART_NODES" --timeout 20s; }
announce() { safestart announce "$1" "127.0.0.1:${port[$1]}" >/dev/null; }

# shellcheck disable=SC2016 # it is PHP
read -r "port[a]" "port[b]" "port[c]" http <<<"$(php -r 'for ($i = 0; $i < 4; $i++) $s[] = stream_socket_server("tcp://127.0.0.1:0"); foreach ($s as $one) echo explode(":", stream_socket_get_name($one, false))[1], " ";')"
cat >"$scratch/fpm.conf" <<END
[global]
error_log = $scratch/fpm.log
daemonize = no
[www]
user = $(id -un)
group = $(id -gn)
listen = $scratch/fpm.sock
pm = static
pm.max_children = 2
catch_workers_output = yes
END
cat >"$scratch/nginx.conf" <<END
daemon off;
pid $scratch/nginx.pid;
error_log $scratch/nginx.log;
worker_processes 1;
user $(id -un);
events {}
http {
	access_log off;
	client_body_temp_path $scratch/body;
	fastcgi_temp_path $scratch/fastcgi;
	proxy_temp_path $scratch/proxy;
	uwsgi_temp_path $scratch/uwsgi;
	scgi_temp_path $scratch/scgi;
	server {
		listen 127.0.0.1:$http;
		location / {
			include /etc/nginx/fastcgi_params;
			fastcgi_param SCRIPT_FILENAME $here/servers/index.php;
			fastcgi_pass unix:$scratch/fpm.sock;
		}
	}
}
END
fpm=$(find /usr/sbin -name 'php-fpm*' | sort | tail -n 1)
echo '[]' >"$SAFESTART_NODES"
redis a
redis b
announce a
announce b
"$fpm" -R -F -y "$scratch/fpm.conf" -d extension="$scratch/ext/modules/safestart.so" \
	-d "safestart.settings=\"name=api; source=file:$SAFESTART_NODES; control=$SAFESTART_CONTROL; debounce=10ms; reconcile=1s; max_shrink=100%\"" 2>"$scratch/fpm.err" &
pids+=($!)
php_fpm=$!
until [ -S "$scratch/fpm.sock" ]; do kill -0 "$php_fpm" || { cat "$scratch/fpm.err" "$scratch/fpm.log"; exit 1; }; done
nginx -c "$scratch/nginx.conf" 2>/dev/null &
pids+=($!)
# A worker opens in its first request, so that a worker without one is not on the roster yet, and has no nodes yet for a moment.
url=http://127.0.0.1:$http/
until curl -fs "$url" >/dev/null; do sleep 0.05; done
until wrk -t 1 -c 4 -d 1s "$url" >/dev/null && safestart wait a --roster api=2 --timeout 0 >/dev/null; do kill -0 "$php_fpm" || { cat "$scratch/fpm.err" "$scratch/fpm.log"; exit 1; }; done
wrk -t 1 -c 8 -d 6s "$url" >"$scratch/wrk" &
load=$!
in_use a
in_use b
redis c
announce c
in_use c
safestart drain a --for 1m --reason 'a test' --wait --timeout 20s
end a
redis a
announce a
in_use a
end b # without a word
wait "$load"
in_use a
in_use c
grep 'requests in' "$scratch/wrk"
if grep -E 'Non-2xx|Socket errors' "$scratch/wrk" || grep -E 'SIG|Warning|Fatal' "$scratch/fpm.log"; then
	echo "FAILED" >&2
	exit 1
fi
echo "php-fpm behind nginx: no request failed"
