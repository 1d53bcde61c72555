/**
 * One token bucket: so much at once, refilled evenly. Pure arithmetic on the time that it is given.
 * Not here: what is counted and what it means when nothing is left (standing.ts).
 */
import type { Allowance } from './config.ts';

export interface Bucket {
  /** Below zero is debt, at most one capacity of it. */
  tokens: number;
  at_ms: number;
}

export function fullBucket(allowance: Allowance, now: number): Bucket {
  return { tokens: allowance.capacity, at_ms: now };
}

/** A clock that goes back refills nothing and takes nothing away. */
export function refill(bucket: Bucket, allowance: Allowance, divisor: number, now: number): void {
  const elapsed_ms = Math.max(0, now - bucket.at_ms);
  const gained = (elapsed_ms / 1000) * (allowance.perSecond / divisor);
  bucket.tokens = Math.min(allowance.capacity, bucket.tokens + gained);
  bucket.at_ms = now;
}

/** @returns whether there was enough; if not, nothing was taken. An amount over the capacity is never there. */
export function take(bucket: Bucket, amount: number): boolean {
  if (bucket.tokens < amount) return false;
  bucket.tokens -= amount;
  return true;
}

/** Takes what has been used already, into debt if need be. */
export function owe(bucket: Bucket, allowance: Allowance, amount: number): void {
  bucket.tokens = Math.max(-allowance.capacity, bucket.tokens - amount);
}
