// SPDX-License-Identifier: LGPL-2.1-or-later
import { EventEmitter } from 'node:events';

/** Settings by the library's own names, such as `{ source: 'file:nodes.json', debounce: '100ms' }`. A boolean is passed as yes or no. */
export type Settings = Record<string, string | number | boolean>;

/** One group of a Prometheus file_sd document. */
export interface Group {
  targets: string[];
  labels?: Record<string, string>;
}

export type Verdict = 'applied' | 'unchanged' | 'refused' | 'failed' | 'timed-out' | 'cancelled';
export type State = 'unknown' | 'announced' | 'applied' | 'proven' | 'failing' | 'quarantined' | 'retired';
export type Level = 'emergency' | 'alert' | 'critical' | 'error' | 'warning' | 'notice' | 'info' | 'debug';

/** How a run ended, and with it every request that it covered. */
export interface Outcome {
  verdict: Verdict;
  /** In words: what happened, what to do, when it is retried. */
  message: string;
  /** 0, or negative as in the errors of Node: -errno. */
  errno: number;
  /** Which run; 0: none, the handle was shut down before. */
  run: number;
  /** The generation that was live when it ended. */
  generation: number;
  /** How many requests it covered. */
  requests: number;
  /** Runs in a row that tried this set, this one included. */
  attempts: number;
  /** Entries left out as unusable or rejected. */
  quarantined: number;
  /** This ticket and every older one is answered. */
  ticket: number;
  /** What `restart` set by `setStatus`, else 0. */
  status: number;
  /** The process that made the run; with lock_share perhaps another one. */
  pid: number;
  /** Of an `outcome` event: so many outcomes directly before it were left out. */
  merged: number;
}

/** What the library refuses is an Error with these. */
export interface SafestartError extends Error {
  errno: number;
  code: string;
}

export interface Node<NodeData = unknown> {
  readonly id: string;
  /** A name or an address, an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
  readonly labels: Readonly<Record<string, string>>;
  /** What `setNodeData` hung on it. */
  readonly data: NodeData | undefined;
  /**
   * Report how a real request to this node went: nothing if it worked, else the error, or an errno. The newest report makes the node
   * proven or failing. Too late, when the set is not live and not in `use` any more, it is ignored.
   */
  report(error?: unknown): void;
}

/** One generation: an immutable set of nodes, and the application's data. */
export interface NodeSet<NodeData = unknown, SetData = unknown> extends Iterable<Node<NodeData>> {
  /** 0: nothing was loaded yet, and the set is empty. */
  readonly generation: number;
  /** In the order of ids. */
  readonly list: ReadonlyArray<Node<NodeData>>;
  readonly size: number;
  /** What `setData` hung on it. */
  readonly data: SetData | undefined;
  get(id: string): Node<NodeData> | undefined;
}

export interface Change {
  change: 'added' | 'removed' | 'changed';
  id: string;
  host: string;
  port: number;
  labels: Record<string, string>;
  /** The live entry of a changed node. */
  was?: { host: string; port: number; labels: Record<string, string> };
}

/** A run, as `prepare` and `restart` see it. It has ended when they have returned, or their promise is settled; then its methods throw. */
export interface Run<NodeData = unknown, SetData = unknown> {
  readonly number: number;
  /** Aborted when going on is pointless: the deadline (`run_timeout`) has passed, or the handle was shut down. */
  readonly signal: AbortSignal;
  /** How the new set differs from the live one, in the order of ids. Made at each look. */
  readonly changes: Change[];
  /** The new set; in `restart` it is live. Made at each look. */
  readonly nodes: NodeSet<NodeData, SetData>;
  /** Leave one added or changed node out; it is quarantined with the reason, and retried. Only in `prepare`. */
  reject(id: string, reason?: string): void;
  /**
   * Hang an object on a node of the new set. A node that does not change keeps it in later generations. When no reader can see it on any
   * node any more, its `close` is called, if it has one. Only in `prepare`.
   */
  setNodeData(id: string, data: NodeData): void;
  /** Hang an object on the generation, likewise. Only in `prepare`. */
  setData(data: SetData): void;
  /** A number for the outcome's `status`. Only in `restart`. */
  setStatus(status: number): void;
}

export interface Application<NodeData = unknown, SetData = unknown> {
  /**
   * Connect to what is new. Nothing is live yet: an error, or a rejected promise, leaves everything as it was, and is told in the
   * outcome.
   */
  prepare?(run: Run<NodeData, SetData>): void | Promise<void>;
  /** Reload what else needs it, after the new set went live. */
  restart?(run: Run<NodeData, SetData>): void | Promise<void>;
}

export interface WaitOptions {
  /** Ends the wait; the promise is rejected with its reason. `AbortSignal.timeout(5000)` for a limit. */
  signal?: AbortSignal;
}

export interface RequestOptions {
  /** Lifts the guard rails (max_shrink, min_nodes). */
  force?: boolean;
  /** Skips debounce and backoff. */
  urgent?: boolean;
  /** For the log. */
  reason?: string;
}

interface Events {
  /** One line for the log. Without a listener it goes to NODE_DEBUG=safestart. */
  log: [level: Level, text: string];
  /** A run has ended. */
  outcome: [outcome: Outcome];
  /** The nodes of this run went live. */
  committed: [run: number];
}

/**
 * A handle. It stays open, also when nothing refers to it, until `close` or the end of its environment; it does not keep the process
 * alive.
 */
export class Safestart<NodeData = unknown, SetData = unknown> extends EventEmitter {
  /** The version of the library that is loaded. */
  static readonly version: string;

  /** @throws {SafestartError} a wrong setting, in words and with the nearest name */
  constructor(settings?: Settings, application?: Application<NodeData, SetData>);

  /**
   * The live nodes, at the cost of reading an attribute. Good until the next `await`: afterwards what hangs on them may have been closed.
   * For longer: `use`.
   */
  readonly nodes: NodeSet<NodeData, SetData>;
  /** Work with the live nodes, none of which is retired until the promise of `work` is settled. */
  use<Result>(work: (nodes: NodeSet<NodeData, SetData>) => Result | Promise<Result>): Promise<Result>;

  /** Replace all nodes (source=push). Returns the ticket. */
  replace(nodes: Group[] | string): number;
  /** Add one node, or give it another address or incarnation (source=push). Returns the ticket. */
  announce(id: string, address: string, incarnation?: string | null): number;
  /** Take one node out (source=push). Returns the ticket. */
  withdraw(id: string): number;
  /** Ask for the nodes to be read again. Returns the ticket; requests in close succession share one. */
  request(options?: RequestOptions): number;

  /** The one outcome of a ticket. */
  outcome(ticket: number, options?: WaitOptions): Promise<Outcome>;
  /** Until a first generation is live. */
  ready(options?: WaitOptions): Promise<void>;

  state(id: string): { state: State; why: string };
  /** Everything at one moment; `summary` is the line to read first. */
  status(): Record<string, unknown>;
  /** Figures for Prometheus. */
  metrics(): string;

  /** With start=after_fork: start now, under another `name`, `control` or `serves`. */
  afterFork(settings?: Settings): void;
  /** Start no more runs, and answer every open ticket. Reading goes on. */
  shutdown(): void;
  /** Shut down, end all waits, close what hangs on nodes. Again: the same promise. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;

  on<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this;
  once<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this;
  off<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this;
}
