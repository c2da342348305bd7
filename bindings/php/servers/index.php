<?php
// SPDX-License-Identifier: LGPL-2.1-or-later
// An API server: each request is answered by a Redis out of the current nodes, by the next one if that fails.

final class Redis1
{
    /** @var resource */
    private $stream;

    public function __construct(string $host, int $port)
    {
        $this->stream = @stream_socket_client("tcp://$host:$port", $error, $words, 1) ?: throw new RuntimeException($words, $error);
    }

    public function ping(): void
    {
        if (@fwrite($this->stream, "PING\r\n") === false || fgets($this->stream) !== "+PONG\r\n") {
            throw new RuntimeException('the Redis has gone', SOCKET_ECONNRESET);
        }
    }
}

function answer(Safestart\Handle $ss): ?string
{
    $ids = array_keys($ss->nodes);
    shuffle($ids);
    foreach ($ids as $id) {
        $node = $ss->nodes[$id] ?? null;
        try {
            $node->data ??= new Redis1($node->host, $node->port);
            $node->data->ping();
            $ss->report($node);
            return "$id answered\n";
        } catch (RuntimeException $e) {
            $ss->report($node, $e->getCode());
        }
    }
    return null;
}

$ss = Safestart\open(); // by the ini setting safestart.settings
$ss->waitReady(5); // a worker's first request finds it just opened
$said = answer($ss);
http_response_code($said === null ? 503 : 200);
echo $said ?? "no node answers\n";
