/**
 * How much of the gossip of others this node passes on. Its peers meter it by the same allowances, whoever made what it
 * brings: so it stops well below, and one author must not use up what is there for the gossip of all. The shares are those
 * of who signed it, not of who brought it: what an author has too much of comes by way of honest peers, and of all of them.
 *
 * What was passed on is forgotten bit by bit, at each moment in proportion to what is left of it. So over any time no
 * more is passed on than the capacity and the refill of that time. A share may have used no more than is left free:
 * one alone gets half, n that all want more get a part in n + 1 each, and as much stays free for those that want little.
 * Pure arithmetic on the time that it is given. Not here: what becomes of the rest, which anti-entropy brings, and which
 * share pays for what of a message (the daemon's guard driver).
 */
import type { Resource, StandingConfig } from './config.ts';

/** Of too many shares so large a part goes at once: to come to the first costs a walk past those that went before it. */
const FORGOTTEN_DIVISOR = 16;

const RELAYED = ['messages', 'bytes', 'records'] as const satisfies readonly Resource[];

/** What passing a message on costs this node at each peer, or a part of that. */
export type RelayCost = Readonly<Amounts>;

type Amounts = Record<(typeof RELAYED)[number], number>;

/** What is not forgotten yet of what was passed on, as it was at `at_ms`. */
interface Used {
  readonly amounts: Amounts;
  at_ms: number;
}

export class RelayBudget {
  readonly #config: StandingConfig;
  readonly #all = unused(0);
  /** The one heard longest ago first. */
  readonly #shares = new Map<string, Used>();
  #refused = 0;

  /** @param config as `assertStanding` lets it pass. */
  constructor(config: StandingConfig) {
    this.#config = config;
  }

  /** How many shares are remembered. */
  get size(): number {
    return this.#shares.size;
  }

  /** Messages that were not passed on. */
  get refused(): number {
    return this.#refused;
  }

  /**
   * @param costs what each share is to pay of one message; together all that it costs.
   * @returns whether each has room for that, and the message may be passed on; if not, nothing was used.
   */
  take(costs: ReadonlyMap<string, RelayCost>, now: number): boolean {
    const { amounts: all } = this.#forget(this.#all, now);
    const sum = nothing();
    for (const cost of costs.values()) add(sum, cost);
    const left = this.#left(all, sum);
    const paying: [Amounts, RelayCost][] = [];
    for (const [share, cost] of costs) {
      const { amounts: own } = this.#forget(this.#share(share, now), now);
      paying.push([own, cost]);
    }
    if (!paying.every(([own, cost]) => RELAYED.every((name) => own[name] + cost[name] <= left[name]))) {
      this.#refused += 1;
      return false;
    }
    add(all, sum);
    for (const [own, cost] of paying) add(own, cost);
    return true;
  }

  /** What stays free for all once `cost` is used as well; below zero where there is no room for it. */
  #left(all: Amounts, cost: RelayCost): Amounts {
    const { allowances, relayed_divisor } = this.#config;
    const left = nothing();
    for (const name of RELAYED)
      left[name] = allowances[name].capacity / relayed_divisor - all[name] - cost[name];
    return left;
  }

  #share(id: string, now: number): Used {
    const known = this.#shares.get(id);
    if (known === undefined) this.#makeRoom();
    else this.#shares.delete(id);
    const share = known ?? unused(now);
    this.#shares.set(id, share);
    return share;
  }

  /** What was passed on of one that is forgotten still counts in all. */
  #makeRoom(): void {
    const { peers_max } = this.#config;
    if (this.#shares.size < peers_max) return;
    let left_count = Math.ceil(peers_max / FORGOTTEN_DIVISOR);
    for (const id of this.#shares.keys()) {
      this.#shares.delete(id);
      left_count -= 1;
      if (left_count === 0) break;
    }
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

function unused(at_ms: number): Used {
  return { amounts: nothing(), at_ms };
}

function nothing(): Amounts {
  return { messages: 0, bytes: 0, records: 0 };
}

function add(amounts: Amounts, more: RelayCost): void {
  for (const name of RELAYED) amounts[name] += more[name];
}
