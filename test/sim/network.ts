/**
 * The condition of the simulated network: how far hosts are from one another, which ways are cut, and how much of
 * what travels is lost. Not here: what connections make of it (transport.ts).
 */
import type { Prng } from './prng.ts';

/** What a host's access to the network adds to each way through it. */
export interface Access {
  /** One way, from this host's edge to the middle of the network. */
  readonly latency_ms: number;
  /** Added to latency, uniform from 0. */
  readonly jitter_ms: number;
  readonly bytesPer_ms: number;
}

export const ACCESS = {
  /** A switch: half a millisecond from host to host, with what the hosts need to handle a message. */
  lan: { latency_ms: 0.25, jitter_ms: 0.25, bytesPer_ms: 100_000 },
  /** Sites on DSL or fibre, some 20 to 80 ms from one another. */
  wan: { latency_ms: 20, jitter_ms: 3, bytesPer_ms: 1_250 },
  /** LTE and worse. */
  mobile: { latency_ms: 45, jitter_ms: 40, bytesPer_ms: 250 },
  /** Half of the way up to a geostationary satellite and down: some 300 ms from host to host. */
  satellite: { latency_ms: 150, jitter_ms: 20, bytesPer_ms: 250 },
  /** Exactly 20 ms from host to host. */
  hop20: { latency_ms: 10, jitter_ms: 0, bytesPer_ms: 12_500 },
} as const satisfies Record<string, Access>;

/** What befalls single packets, in parts of 1. */
export interface Quality {
  readonly loss: number;
  /** Messages that arrive twice, and those that others overtake: no TCP, but what the cores promise to bear. */
  readonly duplication: number;
  readonly reordering: number;
}

export const GOOD: Quality = { loss: 0, duplication: 0, reordering: 0 };

/** How much the distances of pairs differ from the sum of their accesses, either way. */
const PAIR_SPREAD = 0.4;

export class Network {
  quality: Quality = GOOD;
  readonly #prng: Prng;
  readonly #access: Access[] = [];
  /** Sides of a partition by host: those of one number reach one another. */
  #sides: Int32Array | null = null;
  /** Hosts whose own link is down. */
  #unlinked: ReadonlySet<number> = new Set();
  /** One-way cuts, `from * hosts_max + to`. */
  readonly #cuts = new Set<number>();

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  /** The next host, by its number. */
  add(access: Access): void {
    this.#access.push(access);
  }

  setAccess(host: number, access: Access): void {
    this.#access[host] = access;
  }

  isOpen(from: number, to: number): boolean {
    if (this.#sides !== null && this.#sides[from] !== this.#sides[to]) return false;
    return this.#cuts.size === 0 || !this.#cuts.has(from * HOSTS_MAX + to);
  }

  /** Nothing passes this way any more; the other way is as it was. */
  cut(from: number, to: number): void {
    this.#cuts.add(from * HOSTS_MAX + to);
  }

  /** Its own link: a host that has one still knows its neighbours when a cut ends. */
  isLinkDown(host: number): boolean {
    return this.#unlinked.has(host);
  }

  /** These hosts reach one another, and no other. One alone has no link. Replaces the partition before, if any. */
  partition(side: readonly number[]): void {
    this.#unlinked = new Set(side.length === 1 ? side : []);
    this.#sides = new Int32Array(this.#access.length);
    for (const host of side) this.#sides[host] = 1;
  }

  /** Each host is alone. */
  scatter(): void {
    this.#unlinked = new Set(this.#access.keys());
    this.#sides = Int32Array.from(this.#access, (_, host) => host);
  }

  /** Ends every cut. */
  heal(): void {
    this.#sides = null;
    this.#unlinked = new Set();
    this.#cuts.clear();
  }

  isLost(): boolean {
    const { loss } = this.quality;
    return loss > 0 && this.#prng.next() < loss;
  }

  /** One way without chance: what a route has by nature. It differs from pair to pair, and is the same both ways. */
  base_ms(from: number, to: number): number {
    const sum = this.#access[from]!.latency_ms + this.#access[to]!.latency_ms;
    if (this.#access[from]!.jitter_ms === 0) return sum;
    const low = Math.min(from, to);
    const high = Math.max(from, to);
    const lot = (Math.imul(low * 0x9e37 + high, 0x85ebca6b) >>> 8) / 2 ** 24;
    return sum * (1 + PAIR_SPREAD * (2 * lot - 1));
  }

  /** One way for so many bytes, now. */
  delay_ms(from: number, to: number, bytes: number): number {
    const source = this.#access[from]!;
    const sink = this.#access[to]!;
    const jitter_ms = source.jitter_ms + sink.jitter_ms;
    const transfer_ms = bytes / Math.min(source.bytesPer_ms, sink.bytesPer_ms);
    return this.base_ms(from, to) + transfer_ms + (jitter_ms > 0 ? this.#prng.next() * jitter_ms : 0);
  }

  chance(part: number): boolean {
    return part > 0 && this.#prng.next() < part;
  }
}

export const HOSTS_MAX = 65_536;
