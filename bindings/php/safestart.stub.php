<?php

/**
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The API as PHP sees it, for people and their editors; safestart_arginfo.h says the same to the engine: php-src's
 * build/gen_stub.php makes it out of this.
 * @generate-function-entries
 * @generate-class-entries
 */

namespace Safestart;

/**
 * The handle that this process holds for these settings; it is opened by the first call. null: the settings of the ini setting
 * safestart.settings. The closures are those of this request.
 */
function open(?array $settings = null, ?callable $prepare = null, ?callable $restart = null, ?callable $log = null): Handle {}

/** The version of the library. */
function version(): string {}

/** All settings of the library with their defaults. */
function settings(): array {}

/** The library's words; the code is a positive errno. */
class Exception extends \RuntimeException
{
}

enum Verdict: int
{
    case Applied = 0;
    case Unchanged = 1;
    case Refused = 2;
    case Failed = 3;
    case TimedOut = 4;
    case Cancelled = 5;
}

enum NodeState: int
{
    case Unknown = 0;
    case Announced = 1;
    case Applied = 2;
    case Proven = 3;
    case Failing = 4;
    case Quarantined = 5;
    case Retired = 6;
}

/**
 * @property-read array<string, Node> $nodes the live nodes by their ids; made anew only when the generation has changed
 * @property-read int $generation the number of that generation
 */
final class Handle
{
    /** Ask for the node locations to be read again. Returns a ticket for wait(). */
    public function request(?string $reason = null, bool $force = false, bool $urgent = false): int {}

    /** Replace all nodes by a file_sd document. Returns a ticket. */
    public function replace(string $json): int {}

    /** Add one node, or give it another address or incarnation. Returns a ticket. */
    public function announce(string $id, string $address, ?string $incarnation = null): int {}

    /** Take one node out. Returns a ticket. */
    public function withdraw(string $id): int {}

    /** Wait for the outcome of a ticket; null after so many seconds. What a signal handler throws ends it. */
    public function wait(int $ticket, ?float $timeout = null): ?Outcome {}

    /** Wait until a first generation is live; false after so many seconds. */
    public function waitReady(?float $timeout = null): bool {}

    /** Take events for so many seconds (0: those that wait; null: for ever): prepare, restart and log are called here. */
    public function poll(?float $timeout = 0): void {}

    /** The descriptor that is readable while an event waits; -1 without closures. */
    public function fd(): int {}

    /** How the newest run ended; null before the first. */
    public function lastOutcome(): ?Outcome {}

    /** How a real request to a node went: 0, or an errno. One about an entry that is not live any more counts for nothing. */
    public function report(Node|string $node, int $error = 0): void {}

    /** What this process knows of a node. */
    public function state(string $id): State {}

    /** Everything at one moment, as JSON. */
    public function status(): string {}

    /** Figures in the Prometheus exposition format. */
    public function metrics(): string {}

    /** Make it this forked child's own, with other values of name, control or serves. Any other call does it, too, without them. */
    public function afterFork(array $settings = []): void {}

    /** Start no more runs, and answer every ticket. */
    public function shutdown(): void {}

    /** Close the handle that the process holds. */
    public function close(): void {}
}

/** A run, inside prepare and restart. */
final class Run
{
    public function number(): int {}

    /** Is it pointless to go on? */
    public function cancelled(): bool {}

    /** @return list<Change> */
    public function changes(): array {}

    /** Leave a node out. */
    public function reject(string $id, ?string $reason = null): void {}

    /** Hang an object (for the rest of this request) or a string (as long as the node) on a node. */
    public function set(string $id, object|string $data): void {}

    /** Hang an object or a string on the generation. */
    public function setData(object|string $data): void {}

    /** A number for the outcome, such as an exit code; in restart. */
    public function setStatus(int $status): void {}

    /** It is not finished when the closure returns, but by finish() or fail(). */
    public function later(): void {}

    public function finish(): void {}

    public function fail(string $message): void {}
}

final class Node
{
    public string $id;
    public string $host;
    public int $port;
    public array $labels;
    /** What prepare has hung on it, or the application: kept as long as the entry stays the same, and no longer than the request. */
    public mixed $data = null;
}

/** kind: added, removed or changed. */
final class Change
{
    public string $kind;
    public string $id;
    public string $host;
    public int $port;
    public array $labels;
    public ?Change $was = null;
}

final class Outcome
{
    public Verdict $verdict;
    public int $code;
    public string $message;
    public int $run;
    public int $generation;
    public int $requests;
    public int $attempts;
    public int $quarantined;
    public int $ticket;
    public int $status;
    public int $pid;
}

final class State
{
    public NodeState $state;
    public string $why;
}
