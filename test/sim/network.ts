/**
 * The simulated network's condition: what each directed link does to what is put on it. Connections are made of it
 * in simulator.ts. Not a model of TCP: a `send` is at most once, as the mesh promises no more.
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import type { Prng } from './prng.ts';

export interface LinkQuality {
  readonly latency_ms: number;
  /** Added to latency, uniform from 0. More than the time between two sends means reordering. */
  readonly jitter_ms: number;
  /** Parts of 1. */
  readonly loss: number;
  readonly duplication: number;
}

export const GOOD: LinkQuality = { latency_ms: 1, jitter_ms: 1, loss: 0, duplication: 0 };
export const LOSSY: LinkQuality = { latency_ms: 5, jitter_ms: 20, loss: 0.3, duplication: 0.02 };

export class Network {
  quality: LinkQuality = GOOD;
  readonly #prng: Prng;
  readonly #cuts = new Set<string>();

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  isOpen(from: NodeId, to: NodeId): boolean {
    return !this.#cuts.has(`${from}>${to}`);
  }

  /** Nothing passes this way any more; the other way is as it was. */
  cut(from: NodeId, to: NodeId): void {
    this.#cuts.add(`${from}>${to}`);
  }

  /** Nothing passes between the two sides. */
  partition(left: readonly NodeId[], right: readonly NodeId[]): void {
    for (const a of left) {
      for (const b of right) {
        this.cut(a, b);
        this.cut(b, a);
      }
    }
  }

  /** Ends every cut. */
  heal(): void {
    this.#cuts.clear();
  }

  delay_ms(): number {
    return this.quality.latency_ms + this.#prng.next() * this.quality.jitter_ms;
  }

  /** When copies of one datagram arrive, as delays from now: none, one or two. */
  delays_ms(from: NodeId, to: NodeId): number[] {
    if (!this.isOpen(from, to) || this.#prng.chance(this.quality.loss)) return [];
    const delays = [this.delay_ms()];
    if (this.#prng.chance(this.quality.duplication)) delays.push(this.delay_ms());
    return delays;
  }
}
