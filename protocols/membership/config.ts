/**
 * Every setting and limit of membership, and how they relate. One object.
 * Not here: the mesh's own timeouts (protocols/mesh) and the ledger's.
 * Sources: Das et al., "SWIM" (2002); Dadgar et al., "Lifeguard" (2018); Suresh et al., "Rapid" (2018).
 *
 * How long a silent host stays unnoticed at most, on a network that loses nothing, follows from six of them:
 * beat_interval_ms + late_ms + probe_timeout_ms + suspicionConfirmed_ms, four round trips and the gossip of a record.
 */

export interface MembershipConfig {
  /** K: how many members watch each member, and whose agreement fails it. */
  readonly watchers_count: number;
  /**
   * A member tells one of its watchers that it lives once in this time, and the next one the next time. So the
   * traffic is the same for any K, and the first watcher misses it after at most one interval.
   */
  readonly beat_interval_ms: number;
  /** Intervals and backoffs vary by this fraction, either way, so that nodes do not march in step. */
  readonly jitter: number;
  /** A beat that comes later than promised by more than this has its sender asked. Over the p99 of delays and jitter. */
  readonly late_ms: number;
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
  /**
   * The same when so many watchers as must agree have seen their connections to it close: its process ended. Long
   * enough to dial a process that lives, since it would be connected again by then. A daemon that restarts counts as
   * dead meanwhile: nobody can tell it from one that crashed and stays away, and to wait some seconds for it would
   * make every crash that much dearer. When it is back its connection counts at once, and the instances that it
   * adopts win over their replacements.
   */
  readonly suspicionClosed_ms: number;
  /**
   * A watcher that is not needed for the agreement leaves the verdict to the others for this long, and spares its own
   * record when they have agreed by then. Over the time that records need on their way.
   */
  readonly spare_ms: number;
  /**
   * A member that is heard again is expected to refute, which voids all verdicts with one record. A watcher writes
   * that it takes its own back only when that has not come after this.
   */
  readonly takeBack_ms: number;
  /** Whom it watches a node asks so often to learn the round trip, at first and after each doubt; and slow ones now and then. */
  readonly roundTrips_count: number;
  /**
   * On a network that loses much, questions and suspicions outlast silences that are as likely as this; suspicions
   * outlast rarer ones in clusters of less than five members.
   */
  readonly lateChance: number;
  readonly silenceChance: number;
  /** Lifeguard's local health: 0 is well. It rises with stalls, accusations and needless questions. */
  readonly health_max: number;
  /** What an answer in time, or a beat in time, mends of it. */
  readonly beatMends: number;
  /** Timeouts of questions and of confirmed suspicions are multiplied by (health + 1), up to this. */
  readonly patience_max: number;
  /** A node whose health is worse (higher) than this gives no verdict that nobody confirms. */
  readonly healthAlone_max: number;
  /** How often such a verdict is put off before it is given anyway, when no other watcher can be heard. */
  readonly postponements_max: number;
  /** A timer that is handled this much too late tells of a stalled loop: all deadlines move, no verdict is given. */
  readonly stall_ms: number;
  /** A member that was never connected yet is not doubted for this long: hosts that boot together do so unevenly. */
  readonly meet_ms: number;
  /** The second attempt to dial comes after this. Later ones wait for a part of the time that the member was lost. */
  readonly redialFirst_ms: number;
  readonly redialPart: number;
  readonly redialCap_ms: number;
  /**
   * Up to this many members every pair keeps a connection. In larger clusters a member keeps one to each of its K
   * watchers, to the K that it watches, and to the others that watch those: K + K + K (K - 1) at most. Both sides
   * want each of these, and the rings make them a random graph of degree 2K or more, so that no cut through it is
   * narrow: gossip needs no further links.
   */
  readonly meshMembers_max: number;
  /** Connections beyond it that serve none of this are closed in larger clusters when nothing is heard on them. */
  readonly links_max: number;
  readonly linkIdle_ms: number;
  /** Members that vanish within this time vanish "at once": more than half of them, and it is we who are cut off. */
  readonly isolationWindow_ms: number;
}

/** What programs on good hosts need. Round trips and loss are measured, and add to it (weather.ts): so they serve every network. */
export const MEMBERSHIP_DEFAULTS: MembershipConfig = {
  watchers_count: 4,
  beat_interval_ms: 600,
  jitter: 0.05,
  late_ms: 200,
  probe_timeout_ms: 200,
  relays_count: 3,
  reprobe_interval_ms: 100,
  suspicion_ms: 1200,
  suspicionConfirmed_ms: 350,
  confirmations_count: 2,
  suspicionClosed_ms: 250,
  spare_ms: 100,
  takeBack_ms: 2000,
  roundTrips_count: 8,
  lateChance: 0.1,
  silenceChance: 0.003,
  health_max: 8,
  beatMends: 0.25,
  patience_max: 3,
  healthAlone_max: 2,
  postponements_max: 2,
  stall_ms: 150,
  meet_ms: 5000,
  redialFirst_ms: 250,
  redialPart: 1 / 16,
  redialCap_ms: 30_000,
  meshMembers_max: 32,
  links_max: 48,
  linkIdle_ms: 60_000,
  isolationWindow_ms: 30_000,
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
  /** For this long after its nack a relay passes an answer on that comes late. */
  relay_ms_max: 10_000,
  /** Members being redialled at one time; those that shall be connected first. */
  redials_max: 64,
  /** Members probed beyond the targets in one round by a node that has lost most of its targets. */
  widened_max: 16,
  /** Members looked at on one ring for a node's duties as a stand-in. */
  standIns_max: 256,
  /** Doubted members whose status is derived again in one round, whatever has changed. */
  resettled_max: 64,
  /** Neither round trips nor loss may draw out a wait by more than this. */
  roundTrip_ms_max: 3000,
  lossSilence_ms_max: 10_000,
  /** No promise of the next beat is taken for longer than so many intervals. */
  promiseIntervals_max: 32,
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
    [
      config.beat_interval_ms * config.jitter * config.watchers_count < config.late_ms,
      'jitter is not lateness',
    ],
    [config.reprobe_interval_ms * 3 <= config.suspicionConfirmed_ms, 'a suspect is asked 3 times or more'],
    [config.patience_max * config.suspicionConfirmed_ms <= config.suspicion_ms, 'confirmation never slows'],
    [config.suspicionClosed_ms <= config.suspicionConfirmed_ms, 'nor does a closed connection'],
    [config.healthAlone_max < config.health_max, 'healthAlone_max is under health_max'],
    [config.patience_max >= 1, 'patience lengthens'],
    [config.stall_ms < config.late_ms, 'a stall here is noticed before it makes others look late'],
    [config.stall_ms < config.suspicionClosed_ms, 'and before a suspicion can end in it'],
    [config.redialFirst_ms > 0 && config.redialFirst_ms <= config.redialCap_ms, 'redials back off'],
    [config.meshMembers_max <= MEMBERSHIP_LIMITS.redials_max, 'a full mesh can be redialled at once'],
    [config.meshMembers_max <= config.links_max, 'a full mesh is never pruned'],
    [config.watchers_count ** 2 + config.watchers_count <= config.links_max, 'nor is what is wanted'],
    [config.watchers_count * 2 <= MEMBERSHIP_LIMITS.verdictsPerSubject_max, 'all watchers have room'],
    [config.watchers_count < MEMBERSHIP_LIMITS.promiseIntervals_max, 'a promise can be made'],
  ];
  for (const [holds, rule] of rules) if (!holds) throw new RangeError(`membership config: ${rule}`);
  return config;
}

assertConfig(MEMBERSHIP_DEFAULTS);
