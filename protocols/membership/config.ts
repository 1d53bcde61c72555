/**
 * Every setting and limit of membership, and how they relate. One object; a preset changes only what differs.
 * Not here: the mesh's own timeouts (protocols/mesh) and the ledger's.
 * Sources: Das et al., "SWIM" (2002); Dadgar et al., "Lifeguard" (2018).
 */

export interface MembershipConfig {
  /** K: how many members watch each member. More: surer verdicts, more idle traffic (K probes a second and node). */
  readonly watchers_count: number;
  /** Each target is probed once in this time, when this node is well. */
  readonly probe_interval_ms: number;
  /** Intervals and backoffs vary by this fraction, either way, so that nodes do not march in step. */
  readonly jitter: number;
  /** Without an answer for this long the next step is taken: first relays, then suspicion. Over the p99 of a round trip. */
  readonly probe_timeout_ms: number;
  /** How many others are asked to probe a member that did not answer. */
  readonly relays_count: number;
  /** A suspect is asked again this often until the suspicion ends. */
  readonly reprobe_interval_ms: number;
  /** From suspicion to this node's verdict when nobody confirms; up to 10 members, then times log10(members). */
  readonly suspicion_ms: number;
  /** The same when `confirmations_count` other watchers have confirmed. */
  readonly suspicionConfirmed_ms: number;
  readonly confirmations_count: number;
  /** Lifeguard's local health: 0 is well; probe times are multiplied by (health + 1), up to this. */
  readonly health_max: number;
  /** A node whose health is worse (higher) than this gives no verdict that nobody confirms. */
  readonly healthAlone_max: number;
  /** How often such a verdict is put off before it is given anyway, when no other watcher can be heard. */
  readonly postponements_max: number;
  /** A timer that is handled this much too late tells of a stalled loop: all deadlines move, no verdict is given. */
  readonly stall_ms: number;
  /** A member that was never connected yet is not doubted for this long: hosts that boot together do so unevenly. */
  readonly meet_ms: number;
  /** Second attempt to dial after this, doubling up to the cap, for ever. */
  readonly redialFirst_ms: number;
  readonly redialCap_ms: number;
  /** Up to this many members every pair keeps a connection; in larger clusters watchers and targets do. */
  readonly meshMembers_max: number;
  /** Members that vanish within this time vanish "at once": more than half of them, and it is we who are cut off. */
  readonly isolationWindow_ms: number;
}

/** Hosts on one LAN, or links up to some 100 ms. */
export const LAN: MembershipConfig = {
  watchers_count: 4,
  probe_interval_ms: 1000,
  jitter: 0.1,
  probe_timeout_ms: 500,
  relays_count: 3,
  reprobe_interval_ms: 200,
  suspicion_ms: 1200,
  suspicionConfirmed_ms: 600,
  confirmations_count: 2,
  health_max: 8,
  healthAlone_max: 2,
  postponements_max: 2,
  stall_ms: 250,
  meet_ms: 5000,
  redialFirst_ms: 250,
  redialCap_ms: 30_000,
  meshMembers_max: 32,
  isolationWindow_ms: 30_000,
};

/** Satellite and mobile links: round trips over a second. */
export const WAN: MembershipConfig = {
  ...LAN,
  probe_interval_ms: 5000,
  probe_timeout_ms: 2500,
  reprobe_interval_ms: 1000,
  suspicion_ms: 6000,
  suspicionConfirmed_ms: 3000,
  stall_ms: 1000,
  meet_ms: 20_000,
  redialFirst_ms: 1000,
};

/** Caps on all that grows; each is enforced before anything is kept. */
export const MEMBERSHIP_LIMITS = {
  members_max: 16_384,
  /** A watcher outside the ranking may replace nothing when a subject has this many verdicts. */
  verdictsPerSubject_max: 32,
  /** Verdicts whose watcher or subject is not in the member list yet; the oldest is dropped. */
  verdictsPending_max: 1024,
  /** Probes made for others at one time; beyond it a request is answered with a nack. */
  relays_max: 256,
  /** Members being redialled at one time; targets first. */
  redials_max: 64,
  /** Members probed beyond the targets in one round by a node that has lost most of its targets. */
  widened_max: 16,
  /** How far over its own incarnation a node follows an accuser when it refutes. */
  incarnationLeap_max: 1024,
  message_bytes_max: 256,
  nodeId_length_max: 64,
} as const;

/** @throws RangeError when settings contradict one another: a programmer's error. */
export function assertConfig(config: MembershipConfig): MembershipConfig {
  const rules: [boolean, string][] = [
    [config.watchers_count >= 1 && config.watchers_count <= 16, 'watchers_count is 1 to 16'],
    [config.jitter >= 0 && config.jitter < 0.5, 'jitter is at least 0 and under 0.5'],
    [config.probe_timeout_ms * 2 <= config.probe_interval_ms, 'direct and relayed probe fit in one interval'],
    [config.reprobe_interval_ms * 3 <= config.suspicionConfirmed_ms, 'a suspect is asked 3 times or more'],
    [config.suspicionConfirmed_ms <= config.suspicion_ms, 'confirmation never slows a verdict'],
    [config.healthAlone_max < config.health_max, 'healthAlone_max is under health_max'],
    [config.stall_ms < config.suspicionConfirmed_ms, 'a stall is noticed before a suspicion can end in it'],
    [config.redialFirst_ms > 0 && config.redialFirst_ms <= config.redialCap_ms, 'redials back off'],
    [config.meshMembers_max <= MEMBERSHIP_LIMITS.redials_max, 'a full mesh can be redialled at once'],
    [config.watchers_count * 2 <= MEMBERSHIP_LIMITS.verdictsPerSubject_max, 'all watchers have room'],
  ];
  for (const [holds, rule] of rules) if (!holds) throw new RangeError(`membership config: ${rule}`);
  return config;
}

assertConfig(LAN);
assertConfig(WAN);
