<?php
// SPDX-License-Identifier: LGPL-2.1-or-later
// The conformance program in PHP: commands on standard input, answers on standard output; see ../conformance/README.md. One thread: a
// loop that selects between the commands, the handle's descriptor and a timer of 10 ms.

declare(strict_types=1);

use Safestart\{Exception, Handle, Outcome, Run};

/** What the program hangs on nodes and generations. */
final class Connection
{
    public bool $closed = false;
    public int $number;

    public function __construct(private string $retired, string $made)
    {
        $this->number = ++Program::$counts[$made];
    }

    public function close(): void
    {
        Program::$counts['used_after_retire'] += (int) $this->closed;
        $this->closed = true;
        Program::$counts[$this->retired]++;
    }
}

final class Cancelled extends \Exception
{
}

final class Program
{
    /** @var array<string, int> */
    public static array $counts = ['made' => 0, 'retired' => 0, 'used_after_retire' => 0, 'made_sets' => 0, 'retired_sets' => 0,
        'told' => 0, 'heartbeat' => 0];
    private ?Handle $ss = null;
    /** @var ?resource */
    private $events = null;
    private array $script = ['prepare' => 'ok', 'restart' => 'ok'];
    private array $waits = [];
    private array $open = [];
    private bool $later = false;
    private bool $forking = false;
    private ?array $child = null;
    private mixed $own = null;

    public function run(): void
    {
        pcntl_async_signals(true);
        pcntl_signal(SIGUSR1, fn () => throw new Cancelled());
        stream_set_blocking(STDIN, false);
        $rest = '';
        $beat = self::now();
        while (!feof(STDIN)) {
            $read = array_filter([STDIN, $this->events]);
            $none = null;
            stream_select($read, $none, $none, 0, 10000);
            if (self::now() - $beat >= 10) {
                self::$counts['heartbeat']++;
                $beat = self::now();
            }
            $this->ss?->poll();
            $lines = explode("\n", $rest . fread(STDIN, 65536));
            $rest = array_pop($lines);
            foreach ($lines as $line) {
                $command = json_decode($line, true, flags: JSON_THROW_ON_ERROR);
                if ($command['do'] === 'end' && $this->end($command['how'])) {
                    return;
                }
                $this->obey($command);
            }
            $this->lookAtWaits();
        }
    }

    private static function now(): float
    {
        return hrtime(true) / 1e6;
    }

    private function answer(int $id, array $with): void
    {
        fwrite(STDOUT, json_encode(['id' => $id] + $with, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE) . "\n");
    }

    private function obey(array $command): void
    {
        try {
            $said = $this->{'do' . ucfirst($command['do'])}($command);
        } catch (Exception $refused) {
            $said = ['error' => -$refused->getCode(), 'message' => $refused->getMessage()];
        }
        if ($said !== null) {
            $this->answer($command['id'], $said);
        }
    }

    // ---- The application

    private function prepare(Run $run): void
    {
        [$how, $word] = explode(':', $this->script['prepare'], 2) + [1 => ''];
        if ($how === 'throw') {
            throw new \RuntimeException($word);
        }
        if ($how === 'crash') {
            posix_kill(getmypid(), SIGSEGV);
        }
        foreach ($run->changes() as $change) {
            if ($how === 'reject' && $change->id === $word) {
                $run->reject($word, 'not this one');
            } elseif ($change->kind !== 'removed') {
                $run->set($change->id, new Connection('retired', 'made'));
            }
        }
        $run->setData(new Connection('retired_sets', 'made_sets'));
        if ($how === 'hang') {
            while (!$run->cancelled()) {
                usleep(1000);
            }
            self::$counts['told']++;
        }
        if ($this->later) {
            $run->later();
            $this->open[] = $run;
        }
        if ($this->forking) {
            $this->child = $this->askChild();
        }
    }

    private function restart(Run $run): void
    {
        [$how, $word] = explode(':', $this->script['restart'], 2) + [1 => ''];
        if ($how === 'throw') {
            throw new \RuntimeException($word);
        }
        if ($how === 'status') {
            $run->setStatus((int) $word);
        }
    }

    // ---- Commands

    private function doHello(): array
    {
        return ['language' => 'PHP', 'version' => PHP_VERSION, 'library' => Safestart\version(), 'forks' => true];
    }

    private function doOpen(array $command): array
    {
        $this->ss = Safestart\open($command['settings'], $this->prepare(...), $this->restart(...),
            fn (int $level, string $text) => fwrite(STDERR, "<$level>$text\n"));
        $this->events = fopen('php://fd/' . $this->ss->fd(), 'r');
        return [];
    }

    private function doReplace(array $command): array
    {
        return ['ticket' => $this->ss->replace($command['json'])];
    }

    private function doAnnounce(array $command): array
    {
        return ['ticket' => $this->ss->announce($command['node'], $command['address'], $command['incarnation'])];
    }

    private function doWithdraw(array $command): array
    {
        return ['ticket' => $this->ss->withdraw($command['node'])];
    }

    private function doRequest(array $command): array
    {
        return ['ticket' => $this->ss->request($command['reason'], $command['force'], $command['urgent'])];
    }

    private static function outcome(Outcome $outcome): array
    {
        return ['verdict' => $outcome->verdict->value, 'code' => $outcome->code, 'words' => $outcome->message, 'run' => $outcome->run,
            'generation' => $outcome->generation, 'requests' => $outcome->requests, 'status' => $outcome->status];
    }

    /** Looked at from now on; one that is to be cancelled is a wait of PHP's that a signal handler ends by an exception. */
    private function doOutcome(array $command): ?array
    {
        if ($command['cancel_after_ms'] === null) {
            $this->waits[] = $command + ['limit' => $command['timeout_ms'] < 0 ? INF : self::now() + $command['timeout_ms']];
            return null;
        }
        $begun = self::now();
        $signal = proc_open(['sh', '-c', sprintf('sleep %f; kill -USR1 %d', $command['cancel_after_ms'] / 1000, getmypid())], [], $pipes);
        try {
            $outcome = $this->ss->wait($command['ticket'], $command['timeout_ms'] < 0 ? null : $command['timeout_ms'] / 1000);
            return $outcome === null ? ['timeout' => true] : self::outcome($outcome);
        } catch (Cancelled) {
            return ['cancelled' => true, 'after_ms' => (int) (self::now() - $begun - $command['cancel_after_ms'])];
        } finally {
            proc_close($signal);
        }
    }

    private function lookAtWaits(): void
    {
        foreach ($this->waits as $key => $wait) {
            try {
                $outcome = $this->ss->wait($wait['ticket'], 0);
                if ($outcome === null && self::now() < $wait['limit']) {
                    continue;
                }
                $this->answer($wait['id'], $outcome === null ? ['timeout' => true] : self::outcome($outcome));
            } catch (Exception $refused) {
                $this->answer($wait['id'], ['error' => -$refused->getCode(), 'message' => $refused->getMessage()]);
            }
            unset($this->waits[$key]);
        }
    }

    private function doBurst(array $command): array
    {
        $tickets = [];
        for ($i = 0; $i < $command['count']; $i++) {
            $tickets[$this->ss->request()] = true;
        }
        return ['tickets' => array_keys($tickets)];
    }

    private function doScript(array $command): array
    {
        $this->script = $command;
        return [];
    }

    private function doNodes(): array
    {
        $nodes = [];
        foreach ($this->ss->nodes as $node) {
            self::$counts['used_after_retire'] += (int) $node->data?->closed;
            $nodes[] = ['id' => $node->id, 'host' => $node->host, 'port' => $node->port, 'labels' => (object) $node->labels,
                'data' => $node->data?->number];
        }
        return ['generation' => $this->ss->generation, 'nodes' => $nodes];
    }

    private function doReport(array $command): array
    {
        $this->ss->report($command['node'], $command['code']);
        return [];
    }

    private function doState(array $command): array
    {
        $state = $this->ss->state($command['node']);
        return ['state' => $state->state->value, 'why' => $state->why];
    }

    private function doStatus(): array
    {
        return ['status' => json_decode($this->ss->status())];
    }

    private function doMetrics(): array
    {
        return ['text' => $this->ss->metrics()];
    }

    private function doCounts(): array
    {
        $counts = self::$counts;
        self::$counts['heartbeat'] = 0;
        return $counts + ['threads' => count(scandir('/proc/self/task')) - 2, 'descriptors' => count(scandir('/proc/self/fd')) - 3,
            'rss_kib' => (int) explode(' ', file_get_contents('/proc/self/statm'))[1] * 4];
    }

    private function doRead(array $command): array
    {
        $ss = $this->ss;
        $own = new stdClass();
        $own->nodes = $ss->nodes;
        $times = $command['times'];
        $begun = hrtime(true);
        for ($i = 0; $i < $times; $i++) {
            $ss->nodes;
        }
        $between = hrtime(true);
        for ($i = 0; $i < $times; $i++) {
            $own->nodes;
        }
        return ['ns' => ($between - $begun) / $times, 'own_ns' => (hrtime(true) - $between) / $times];
    }

    private function doFork(array $command): array
    {
        if ($command['when'] === 'idle') {
            return ['child' => $this->askChild()];
        }
        $this->forking = true;
        $this->ss->wait($this->ss->replace('[{"targets":["10.9.9.9:1"],"labels":{"id":"a"}}]'), 20);
        $this->forking = false;
        return ['child' => $this->child];
    }

    private function askChild(): array
    {
        [$ours, $theirs] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        $pid = pcntl_fork();
        if ($pid === 0) {
            $this->forking = false;
            fwrite($theirs, json_encode($this->liveInChild()));
            exit(0);
        }
        fclose($theirs);
        $said = stream_get_contents($ours);
        pcntl_waitpid($pid, $status);
        return json_decode($said, true) ?? ['verdict' => -1];
    }

    /** The child opens nothing new: its first call makes the handle its own. */
    private function liveInChild(): array
    {
        $outcome = $this->ss->wait($this->ss->request(), 20);
        $data = array_map(fn ($node) => $node->data !== null, $this->ss->nodes);
        return ['generation' => $this->ss->generation, 'verdict' => $outcome?->verdict->value, 'data' => $data !== [] && !in_array(false, $data)];
    }

    private function doLater(): array
    {
        $this->later = true;
        return [];
    }

    private function doShutdown(): array
    {
        $this->ss->shutdown();
        return [];
    }

    private function doClose(): array
    {
        $begun = self::now();
        $this->ss->close();
        $this->ss = $this->events = null;
        return ['ms' => (int) (self::now() - $begun)];
    }

    /** True: the program returns. */
    private function end(string $how): bool
    {
        if ($how === 'throw') {
            throw new \RuntimeException('the end that was asked for');
        }
        if ($how === 'exit') {
            exit(3);
        }
        if ($how === 'drop') {
            $this->ss = null;
            gc_collect_cycles();
        }
        return true;
    }
}

(new Program())->run();
