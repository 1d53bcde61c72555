/**
 * What the network adds to every wait: round trips to each member, and how much of what is sent comes late.
 * The settings say what programs need in which to answer. What the network needs is measured here, so that one set of
 * them serves a LAN, a satellite link and a network that loses a third of all packets.
 * Source: RFC 6298 for smoothed round trips and for what TCP makes of loss: a retransmission timer that doubles.
 */
import { MEMBERSHIP_LIMITS } from './config.ts';
import type { Member, MembershipState } from './state.ts';

/** RFC 6298: alpha, beta and K. */
const SMOOTHED_GAIN = 1 / 8;
const VARIATION_GAIN = 1 / 4;
const VARIATIONS = 4;

/** Linux's least retransmission timeout. What comes later than most of it, and was promised, was lost on its way. */
const RETRANSMISSION_MS = 200;
const LOST_MS = 150;
/** A late beat weighs more than one in time: bad weather comes at once, and is over when it has been good for a while. */
const LATE_GAIN = 1 / 8;
const IN_TIME_GAIN = 1 / 32;
/** Less than this is no loss but chance: a host that was busy. */
const LATE_PART_MIN = 0.03;
const LATE_PART_MAX = 0.5;

/** A question to `member` was answered after this long. */
export function noteRoundTrip(member: Member, took_ms: number): void {
  const sample_ms = Math.min(Math.max(0, took_ms), MEMBERSHIP_LIMITS.roundTrip_ms_max);
  const { roundTrip } = member;
  if (roundTrip === null) {
    member.roundTrip = { smoothed_ms: sample_ms, variation_ms: sample_ms / 2, samples_count: 1 };
    return;
  }
  const error_ms = Math.abs(roundTrip.smoothed_ms - sample_ms);
  roundTrip.variation_ms += VARIATION_GAIN * (error_ms - roundTrip.variation_ms);
  roundTrip.smoothed_ms += SMOOTHED_GAIN * (sample_ms - roundTrip.smoothed_ms);
  roundTrip.samples_count += 1;
}

/** Nearly all answers of `member` take less than this on their way. */
export function roundTrip_ms({ roundTrip }: Member): number {
  if (roundTrip === null) return 0;
  const wait_ms = roundTrip.smoothed_ms + VARIATIONS * roundTrip.variation_ms;
  return Math.min(wait_ms, MEMBERSHIP_LIMITS.roundTrip_ms_max);
}

/** Most of what is awaited is variation. */
export function isUnsteady({ roundTrip }: Member): boolean {
  return roundTrip !== null && VARIATIONS * roundTrip.variation_ms > roundTrip.smoothed_ms / 2;
}

/** A beat came so much later than it was promised. */
export function noteBeat(state: MembershipState, late_ms: number): void {
  noteAnswer(state, late_ms > LOST_MS);
}

/** Something that was expected came late, or in time. */
export function noteAnswer(state: MembershipState, isLate: boolean): void {
  state.lateness += isLate ? LATE_GAIN * (1 - state.lateness) : -IN_TIME_GAIN * state.lateness;
}

/**
 * How long a connection stays silent through loss alone with this chance. A packet that was lost k times in a row comes
 * 2^k - 1 timeouts late, and does so with the k-th power of the part that is lost.
 */
export function lossSilence_ms({ lateness }: MembershipState, chance: number): number {
  // The part of late beats at which the two gains hold the balance here.
  const latePart = lateness / (lateness + (LATE_GAIN / IN_TIME_GAIN) * (1 - lateness));
  if (latePart < LATE_PART_MIN) return 0;
  const losses_count = Math.log(chance) / Math.log(Math.min(latePart, LATE_PART_MAX));
  return Math.min(MEMBERSHIP_LIMITS.lossSilence_ms_max, RETRANSMISSION_MS * (2 ** losses_count - 1));
}
