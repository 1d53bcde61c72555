/**
 * What the network adds to every wait: round trips to each member, and how much of what is sent comes late.
 * The settings say what programs need in which to answer. What the network needs is measured here, so that one set of
 * them serves a LAN, a satellite link and a network that loses a third of all packets.
 * Sources: Cardwell et al., "BBR" (2016), for the least of recent round trips as what the path itself needs: what took
 * longer waited for a busy program, or for something that was sent again. RFC 6298 for what TCP makes of loss: a
 * retransmission timer that doubles.
 */
import { MEMBERSHIP_LIMITS } from './config.ts';
import type { Member, MembershipState, Turn } from './state.ts';

/** Of each member so many round trips are kept; a path that became longer is known when all of them are newer. */
const ROUND_TRIPS_KEPT = 8;
/** Nearly all of what a path does to a message is less than so many times its least. */
const ROUND_TRIP_TIMES = 2;
/** What the settings allow for already. */
const ROUND_TRIP_MS_FREE = 50;

/** Linux's least retransmission timeout. What comes later than most of it, and was promised, was lost on its way. */
const RETRANSMISSION_MS = 200;
const LOST_MS = 180;
/** A node whose own timers are later than this cannot tell what the network did. */
const LAG_MS_MAX = 50;
/** A late beat weighs more than one in time: bad weather comes at once, and is over when it has been good for a while. */
const LATE_GAIN = 1 / 8;
const IN_TIME_GAIN = 1 / 32;
/** Less than this is no loss but chance: a host that was busy. */
const LATE_PART_MIN = 0.06;
const LATE_PART_MAX = 0.5;
/** Beats of one member count no more often than so many in an interval, but for so many that come at once. */
const SAMPLES_PER_INTERVAL = 2;
const SAMPLES_AT_ONCE = 8;
/** One member that is late alone makes no more of it than a tenth of late beats would, or this much more than the others. */
const LATENESS_ALONE_MAX = 4 / 13;
const LATENESS_OVER_OTHERS = 3;

/** A question to `member` was answered after this long. */
export function noteRoundTrip(member: Member, took_ms: number): void {
  const { roundTrips_ms } = member;
  roundTrips_ms.push(Math.min(Math.max(0, took_ms), MEMBERSHIP_LIMITS.roundTrip_ms_max));
  if (roundTrips_ms.length > ROUND_TRIPS_KEPT) roundTrips_ms.shift();
  member.gauges_count = Math.max(0, member.gauges_count - 1);
  const more_ms = ROUND_TRIP_TIMES * Math.min(...roundTrips_ms) - ROUND_TRIP_MS_FREE;
  member.roundTrip_ms = Math.min(Math.max(0, more_ms), MEMBERSHIP_LIMITS.roundTrip_ms_max);
}

/**
 * A beat of a member that this node watches came so much later than it was promised. What is kept of each member besides
 * bounds what one of them can make this node believe of the network.
 */
export function noteBeatOf({ state, now }: Turn, member: Member, late_ms: number): void {
  const gap_ms = state.config.beat_interval_ms / SAMPLES_PER_INTERVAL;
  // Never in the future, whatever the clock was set to.
  const from_ms = Math.max(Math.min(member.sampled_ms, now), now - SAMPLES_AT_ONCE * gap_ms);
  member.sampled_ms = from_ms;
  if (from_ms + gap_ms > now) return;
  member.sampled_ms = from_ms + gap_ms;
  noteBeat(state, late_ms);
  // It has that part of the beats, and shall follow the weather as soon as all of them together.
  const times = Math.min(4, Math.max(1, state.targets.size));
  if (state.lag_ms <= LAG_MS_MAX) member.lateness = follow(member.lateness ?? 0, late_ms > LOST_MS, times);
}

/** A beat came so much later than it was promised. */
export function noteBeat(state: MembershipState, late_ms: number): void {
  noteAnswer(state, late_ms > LOST_MS);
}

/** Something that was expected came late, or in time. */
export function noteAnswer(state: MembershipState, isLate: boolean): void {
  if (state.lag_ms > LAG_MS_MAX) return;
  state.lateness = follow(state.lateness, isLate, 1);
}

function follow(lateness: number, isLate: boolean, times: number): number {
  return lateness + times * (isLate ? LATE_GAIN * (1 - lateness) : -IN_TIME_GAIN * lateness);
}

/** How late the members that this node watches are without the latest of them; 1 when no other is known. */
function othersLateness({ targets, members }: MembershipState): number {
  let [sum, most, count] = [0, 0, 0];
  for (const id of targets) {
    const lateness = members.get(id)?.lateness ?? null;
    if (lateness === null) continue;
    sum += lateness;
    most = Math.max(most, lateness);
    count += 1;
  }
  return count < 2 ? 1 : (sum - most) / (count - 1);
}

/**
 * How long a connection stays silent through loss alone with this chance. A packet that was lost k times in a row comes
 * 2^k - 1 timeouts late, and does so with the k-th power of the part that is lost.
 */
export function lossSilence_ms(state: MembershipState, chance: number): number {
  let { lateness } = state;
  if (lateness > LATENESS_ALONE_MAX) {
    const others = LATENESS_OVER_OTHERS * othersLateness(state);
    lateness = Math.min(lateness, Math.max(LATENESS_ALONE_MAX, others));
  }
  // The part of late beats at which the two gains hold the balance here.
  const latePart = lateness / (lateness + (LATE_GAIN / IN_TIME_GAIN) * (1 - lateness));
  if (latePart < LATE_PART_MIN) return 0;
  const losses_count = Math.log(chance) / Math.log(Math.min(latePart, LATE_PART_MAX));
  return Math.min(MEMBERSHIP_LIMITS.lossSilence_ms_max, RETRANSMISSION_MS * (2 ** losses_count - 1));
}
