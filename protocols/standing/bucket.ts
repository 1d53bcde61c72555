/**
 * Token buckets: so much at once, refilled evenly. Pure arithmetic on the time that it is given. All buckets of a peer
 * are side by side in one list, for they are looked at with each message of each peer.
 * Not here: what is counted and what it means when nothing is left (standing.ts).
 */
import { type Allowance, RESOURCES, type Resource } from './config.ts';

/** Of each resource its tokens, then when they were refilled. Below zero is debt, at most one capacity of it. */
export type Buckets = number[];

const PLACES = Object.fromEntries(RESOURCES.map((name, at) => [name, 2 * at])) as Record<Resource, number>;

export function fullBuckets(allowances: Readonly<Record<Resource, Allowance>>, now: number): Buckets {
  return RESOURCES.flatMap((name) => [allowances[name].capacity, now]);
}

export function tokensOf(buckets: Buckets, resource: Resource): number {
  return buckets[PLACES[resource]]!;
}

/** A clock that goes back refills nothing and takes nothing away. */
export function refill(
  buckets: Buckets,
  resource: Resource,
  allowance: Allowance,
  divisor: number,
  now: number,
): void {
  const place = PLACES[resource];
  const elapsed_ms = Math.max(0, now - buckets[place + 1]!);
  const gained = (elapsed_ms / 1000) * (allowance.perSecond / divisor);
  buckets[place] = Math.min(allowance.capacity, buckets[place]! + gained);
  buckets[place + 1] = now;
}

/** @returns whether there was enough; if not, nothing was taken. An amount over the capacity is never there. */
export function take(buckets: Buckets, resource: Resource, amount: number): boolean {
  const place = PLACES[resource];
  if (buckets[place]! < amount) return false;
  buckets[place]! -= amount;
  return true;
}

/** Takes what has been used already, into debt if need be. */
export function owe(buckets: Buckets, resource: Resource, allowance: Allowance, amount: number): void {
  const place = PLACES[resource];
  buckets[place] = Math.max(-allowance.capacity, buckets[place]! - amount);
}
