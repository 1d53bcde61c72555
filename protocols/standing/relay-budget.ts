/**
 * How much of the gossip of others this node passes on. Its peers meter it by the same allowances, whoever made what it
 * brings: so it stops well below, and one source must not use up what is there for the gossip of all.
 *
 * What was passed on is forgotten bit by bit, at each moment in proportion to what is left of it. So over any time no
 * more is passed on than the capacity and the refill of that time. A source may have used no more than is left free:
 * one alone gets half, n that all want more get a part in n + 1 each, and as much stays free for those that want little.
 * Pure arithmetic on the time that it is given. Not here: what becomes of the rest, which anti-entropy brings.
 */
import type { NodeId } from '../base/ids.ts';
import type { Resource, StandingConfig } from './config.ts';

const RELAYED = ['messages', 'bytes', 'records'] as const satisfies readonly Resource[];

/** What passing a message on costs this node at each peer. */
export type RelayCost = Readonly<Record<(typeof RELAYED)[number], number>>;

/** What is not forgotten yet of what was passed on, as it was at `at_ms`. */
interface Used {
  readonly amounts: Record<(typeof RELAYED)[number], number>;
  at_ms: number;
}

export class RelayBudget {
  readonly #config: StandingConfig;
  readonly #all = nothing(0);
  /** The one heard longest ago first. */
  readonly #sources = new Map<NodeId, Used>();
  #refused = 0;

  /** @param config as `assertStanding` lets it pass. */
  constructor(config: StandingConfig) {
    this.#config = config;
  }

  /** How many sources are remembered. */
  get size(): number {
    return this.#sources.size;
  }

  /** Messages that were not passed on. */
  get refused(): number {
    return this.#refused;
  }

  /** @param source the peer that it came from. @returns whether it may be passed on; if not, nothing was used. */
  take(source: NodeId, cost: RelayCost, now: number): boolean {
    const { allowances, relayed_divisor } = this.#config;
    const { amounts: all } = this.#forget(this.#all, now);
    const { amounts: own } = this.#forget(this.#source(source, now), now);
    for (const name of RELAYED) {
      const left = allowances[name].capacity / relayed_divisor - all[name] - cost[name];
      if (own[name] + cost[name] > left) {
        this.#refused += 1;
        return false;
      }
    }
    for (const name of RELAYED) {
      all[name] += cost[name];
      own[name] += cost[name];
    }
    return true;
  }

  #source(id: NodeId, now: number): Used {
    const source = this.#sources.get(id) ?? nothing(now);
    this.#sources.delete(id);
    // What was passed on of one that is forgotten still counts in all.
    for (const [first] of this.#sources) {
      if (this.#sources.size < this.#config.peers_max) break;
      this.#sources.delete(first);
    }
    this.#sources.set(id, source);
    return source;
  }

  /** A clock that goes back changes nothing. */
  #forget(used: Used, now: number): Used {
    const elapsed_s = Math.max(0, now - used.at_ms) / 1000;
    used.at_ms = now;
    for (const name of RELAYED) {
      const { capacity, perSecond } = this.#config.allowances[name];
      used.amounts[name] *= Math.exp((-elapsed_s * perSecond) / capacity);
    }
    return used;
  }
}

function nothing(at_ms: number): Used {
  return { amounts: { messages: 0, bytes: 0, records: 0 }, at_ms };
}
