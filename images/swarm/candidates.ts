/**
 * Whom to ask for one blob: holders that the ledger names, and providers that the DHT hints at; less those that
 * lied, and those that gave nothing a moment ago. Not here: asking them.
 */
import type { Digest, NodeId } from '../../protocols/base/ids.ts';
import type { ImageTransport } from '../images.ts';
import { SWARM_LIMITS, type SwarmTuning } from './tuning.ts';

interface Failures {
  readonly count: number;
  readonly until_ms: number;
}

export class Candidates {
  readonly #transport: ImageTransport;
  readonly #digest: Digest;
  readonly #holders: () => readonly NodeId[];
  readonly #tuning: SwarmTuning;
  readonly #signal: AbortSignal;
  readonly #providers = new Set<NodeId>();
  readonly #liars = new Set<NodeId>();
  readonly #failures = new Map<NodeId, Failures>();
  #searchFrom_ms = 0;

  constructor(init: {
    readonly transport: ImageTransport;
    readonly digest: Digest;
    readonly holders: () => readonly NodeId[];
    readonly tuning: SwarmTuning;
    /** Ends searches under way. */
    readonly signal: AbortSignal;
  }) {
    this.#transport = init.transport;
    this.#digest = init.digest;
    this.#holders = init.holders;
    this.#tuning = init.tuning;
    this.#signal = init.signal;
  }

  /** @returns whom to ask now, best first. Starts a search for more when one is due. */
  now(now_ms: number): NodeId[] {
    if (now_ms >= this.#searchFrom_ms) {
      this.#searchFrom_ms = now_ms + this.#tuning.searchPause_ms;
      void this.#search();
    }
    const known = new Set([...this.#holders().slice(0, SWARM_LIMITS.candidates_max), ...this.#providers]);
    known.delete(this.#transport.self);
    return [...known].filter(
      (peer) => !this.#liars.has(peer) && (this.#failures.get(peer)?.until_ms ?? 0) <= now_ms,
    );
  }

  isLiar(peer: NodeId): boolean {
    return this.#liars.has(peer);
  }

  lied(peer: NodeId): void {
    this.#liars.add(peer);
  }

  gaveNothing(peer: NodeId, now_ms: number): void {
    const count = (this.#failures.get(peer)?.count ?? 0) + 1;
    const wait = Math.min(this.#tuning.backoff_ms * 2 ** (count - 1), this.#tuning.backoff_ms_max);
    this.#failures.set(peer, { count, until_ms: now_ms + wait });
  }

  gaveSomething(peer: NodeId): void {
    this.#failures.delete(peer);
  }

  async #search(): Promise<void> {
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(this.#tuning.search_ms)]);
    try {
      for await (const provider of this.#transport.findProviders(this.#digest, { signal })) {
        if (this.#providers.size >= SWARM_LIMITS.candidates_max) return;
        this.#providers.add(provider);
      }
    } catch {
      // Hints are only hints; the next search may do better.
    }
  }
}
