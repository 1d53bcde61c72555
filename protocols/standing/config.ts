/**
 * Every setting of standing, and how they relate: what a peer may use, what of it this node uses to pass on gossip, what
 * an offence costs, how long a ban lasts.
 * Not here: the arithmetic (bucket.ts, relay-budget.ts, standing.ts) and who reports what (the daemon's drivers).
 */

/**
 * What a peer uses up. `bytes`, `messages`, `streams`, `frames` and `connections` are asked for before they are
 * handled. `records` (taken or refused; by gossip also those that were known), `answers` (bytes that we sent because it
 * asked) and `repeats` (messages for this node alone that told nothing new) are known only after: they may run into debt,
 * and a peer in debt gets nothing handled until it is paid off.
 */
export const RESOURCES = [
  'bytes',
  'messages',
  'streams',
  'frames',
  'connections',
  'records',
  'answers',
  'repeats',
] as const;
export type Resource = (typeof RESOURCES)[number];

/** A token bucket: `capacity` at once, refilled by `perSecond`. */
export interface Allowance {
  readonly capacity: number;
  readonly perSecond: number;
}

export const OFFENCES = [
  'malformed',
  'oversize',
  'bad-signature',
  'other-cluster',
  'equivocation',
  'not-allowed',
  'from-the-future',
  'unknown-author',
  'stale',
  'over-quota',
  'flood',
] as const;
export type Offence = (typeof OFFENCES)[number];

export interface Penalty {
  readonly points: number;
  /** Counted for each record; else once for each message, however many of its records are at fault. */
  readonly each: boolean;
}

export interface StandingConfig {
  readonly allowances: Readonly<Record<Resource, Allowance>>;
  /**
   * What this node passes on of the gossip of others is never more than an allowance divided by this: its peers give it
   * the same, and it needs some of it for what it writes, repairs and asks. One author gets at most half of that.
   */
  readonly relayed_divisor: number;
  readonly penalties: Readonly<Record<Offence, Penalty>>;
  /**
   * What is refused is one flood, or this many for each second of refill that it asked for: few large messages are
   * as much of a flood as many small ones.
   */
  readonly floodsPerSecond: number;
  /** A score halves in this time. */
  readonly halfLife_ms: number;
  /** From this score on a peer is limited. */
  readonly limited_points: number;
  /** The refill of a limited peer is divided by this. */
  readonly limited_divisor: number;
  /** From this score on a peer is banned. */
  readonly banned_points: number;
  /** The first ban; each further one is twice as long, up to `banCap_ms`. No ban is for ever. */
  readonly banFirst_ms: number;
  readonly banCap_ms: number;
  /** One earlier ban is forgotten for each such time without a new one. */
  readonly banForgotten_ms: number;
  /** Peers that are remembered; beyond it the one heard longest ago that is not banned is forgotten. */
  readonly peers_max: number;
}

/**
 * Made so that an honest member of a cluster of 10,000 stays far away from it, and a flood over one TCP connection
 * reaches its end within a second. Offences that no honest program commits cost a third of a ban or more, for each
 * record. What honest members do to one another when clocks differ or a revocation is on its way costs one point a
 * message: one such message every second for ever stays under a ban, and one in four seconds under any limit.
 */
export const STANDING_DEFAULTS: StandingConfig = {
  allowances: {
    // A re-seed of a large ledger in one go; then what one verifier of signatures can keep up with, twice over.
    bytes: { capacity: 256 << 20, perSecond: 16 << 20 },
    messages: { capacity: 20_000, perSecond: 2_000 },
    // An image fetched from one peer opens hundreds within moments.
    streams: { capacity: 2_048, perSecond: 200 },
    // Of the muxer, of every kind. An image travels in blocks of 16 KiB that are each asked for in a frame: some seventy
    // frames a megabyte, 12,000 a second at the 170 MB/s that a core serves. Logs, exec and repairs need far fewer.
    frames: { capacity: 250_000, perSecond: 50_000 },
    // That it dialled. A member that is lost is dialled again after a quarter of a second, then ever more slowly; what
    // restarts again and again, or is searched for by the DHT, is slower still.
    connections: { capacity: 240, perSecond: 4 },
    records: { capacity: 500_000, perSecond: 10_000 },
    answers: { capacity: 512 << 20, perSecond: 8 << 20 },
    // A repair asks many questions that turn out to have been answered.
    repeats: { capacity: 2_000, perSecond: 50 },
  },
  relayed_divisor: 2,
  penalties: {
    malformed: { points: 25, each: true },
    oversize: { points: 35, each: true },
    'bad-signature': { points: 35, each: true },
    'other-cluster': { points: 25, each: true },
    // A restored snapshot does it once without malice.
    equivocation: { points: 35, each: true },
    'not-allowed': { points: 1, each: false },
    'from-the-future': { points: 1, each: false },
    'unknown-author': { points: 0.25, each: false },
    stale: { points: 0.25, each: false },
    'over-quota': { points: 0.25, each: false },
    flood: { points: 0.25, each: true },
  },
  floodsPerSecond: 8,
  halfLife_ms: 60_000,
  limited_points: 30,
  limited_divisor: 10,
  banned_points: 100,
  banFirst_ms: 60_000,
  banCap_ms: 3_600_000,
  banForgotten_ms: 3_600_000,
  peers_max: 16_384,
};

/** @throws RangeError when settings contradict one another: a programmer's error. */
export function assertStanding(config: StandingConfig): StandingConfig {
  const points = (offence: Offence): number => config.penalties[offence].points;
  const rules: [boolean, string][] = [
    [
      RESOURCES.every((name) => config.allowances[name].perSecond > 0),
      'every allowance refills, or a debt would last for ever',
    ],
    [
      RESOURCES.every((name) => config.allowances[name].capacity >= config.allowances[name].perSecond),
      'every allowance holds a second of its refill',
    ],
    [config.relayed_divisor >= 2, 'a node passes on no more than half of what its peers let it send'],
    [OFFENCES.every((name) => points(name) > 0), 'every offence costs something'],
    [
      OFFENCES.every((name) => points(name) < config.banned_points),
      'no single offence is a ban: it may be a defect of ours',
    ],
    [
      points('flood') * config.floodsPerSecond * (config.halfLife_ms / 1000) > config.banned_points,
      'twice the refill for long enough is a ban',
    ],
    [config.limited_points < config.banned_points, 'a peer is limited before it is banned'],
    [config.limited_divisor >= 1, 'a limit never gives more'],
    [config.halfLife_ms > 0 && config.banForgotten_ms > 0, 'scores and bans are forgotten'],
    [config.banFirst_ms > 0 && config.banFirst_ms <= config.banCap_ms, 'bans grow'],
    [config.peers_max >= 1, 'somebody is remembered'],
  ];
  for (const [holds, rule] of rules) if (!holds) throw new RangeError(`standing config: ${rule}`);
  return config;
}

assertStanding(STANDING_DEFAULTS);
