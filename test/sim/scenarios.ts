/**
 * What happens to a cluster in a run: faults and writes at virtual times, all drawn from the seed.
 * Not here: what must hold (checkers/) and what each fault is (faults.ts).
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import { COLLECTION_DEFAULTS } from '../../protocols/ledger/collection.ts';
import { ATTACKS, type Attack } from './byzantine-node.ts';
import { FAULTS, type Fault } from './faults.ts';
import { ACCESS, type Access, GOOD } from './network.ts';
import type { Stage } from './stage.ts';

/** Time for first dials and probes before anything happens. */
export const WARM_UP_MS = 10_000;
/** How long faults go on when `--hours` does not say. */
const FAULTS_MS = 60_000;
/** After the last fault: all views are whole and all ledgers equal within this. */
const CONVERGED_MS_MAX = 60_000;
/** A whole host that goes silent, in a mild world; a process whose connections close is noticed sooner. */
const NOTICED_MS_MAX = 5000;
/** The same where a tenth of the packets is lost, or where 30 % are: of 60 the slowest took 3.1 and 9.4 s. */
const NOTICED_IN_LOSS_MS_MAX = 8000;
const NOTICED_IN_HEAVY_LOSS_MS_MAX = 20_000;
/** And on the slowest links, where round trips of 600 ms are waited for again and again: of 24 the slowest took 20 s. */
const NOTICED_BY_SATELLITE_MS_MAX = 30_000;
/** Where it has just told some that it lives: those must miss it anew. */
const NOTICED_AFTER_WORDS_MS_MAX = 15_000;
const LAST_WORDS_MS_MAX = [300, 3000];
/** From one to the next of those that are restarted in turn: each is whole again before. Two are left at least. */
const ROLLING_MS = 15_000;
const ROLLING_AWAY_MS = 2000;
const ROLLING_DOOMED_PART = 3 / 8;
/** More might be most of the links of one that starts in a large cluster, and it would hold itself for cut off. */
const ROLLING_DOOMED_MAX = 6;
/** Those that are paused themselves learn of it after that only. */
const PAUSE_MS_MAX = 5000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
/** Of what users write, so much is deleted again, or tried to. */
const DELETED_PART = 0.5;

export interface Story {
  /** All faults are over. */
  readonly lastFault_ms: number;
  /** From then until views are whole and ledgers equal, at most. */
  readonly converged_ms_max: number;
  /** From a death until every living node knows of it, at most. */
  readonly noticed_ms_max: number;
  /** Faults so mild that no healthy node may call a healthy one failed at any time. */
  readonly isMild: boolean;
}

export interface Scenario {
  /** One line, for `--help` and the docs. */
  readonly what: string;
  /** How the hosts reach one another; LAN when nothing is said. */
  readonly access?: (at: number) => Access;
  readonly newcomers_count?: (nodes_count: number) => number;
  readonly attack?: Attack;
  /** Of fewer nodes it tells nothing; 2 when nothing is said. */
  readonly nodes_min?: number;
  /** How long it takes is its own matter: `--hours` does not change it. */
  readonly hasOwnTime?: boolean;
  /** Puts everything that is to happen into the world's queue. */
  readonly tell: (stage: Stage) => Story;
}

function story(lastFault_ms: number, isMild: boolean, more: Partial<Story> = {}): Story {
  return {
    lastFault_ms,
    isMild,
    converged_ms_max: CONVERGED_MS_MAX,
    noticed_ms_max: NOTICED_MS_MAX,
    ...more,
  };
}

interface Trouble {
  readonly faults: readonly Fault[];
  /** Between two faults, by lot: from, to. */
  readonly every_ms: readonly [number, number];
  readonly isMild?: boolean;
  readonly more?: Partial<Story>;
  readonly faults_ms?: number;
  readonly records_count?: number;
  readonly kind?: string;
}

/** Some faults by lot, again and again, while records are written; then all is made good. */
function troubled(stage: Stage, trouble: Trouble): Story {
  const { faults, every_ms, isMild = false, more = {}, records_count = 50 } = trouble;
  const last_ms = WARM_UP_MS + (stage.faults_ms ?? trouble.faults_ms ?? FAULTS_MS);
  // Each sets up the next: a day's worth of faults need not wait in the queue.
  const again = (at_ms: number): void => {
    if (at_ms >= last_ms) return;
    stage.world.at(at_ms, () => {
      FAULTS[stage.prng.pick(faults)](stage);
      again(at_ms + stage.prng.between(...every_ms));
    });
  };
  again(WARM_UP_MS);
  stage.world.at(last_ms, () => stage.calm());
  stage.write(stage.nodes, records_count, WARM_UP_MS, last_ms, trouble.kind ?? 'tag');
  stage.deleteSome(stage.nodes, Math.floor(records_count * DELETED_PART), WARM_UP_MS, last_ms);
  return story(last_ms, isMild, more);
}

/**
 * A host that is back with an old disk learns in one look that it missed a collection and agrees in the next; in a third all see
 * that, and collect in a fourth.
 */
const LOOKS_MAX = 4;
/** Looks are jittered by a quarter. */
const LOOK_MS_MAX = 1.25 * COLLECTION_DEFAULTS.collect_ms;

/** Long enough that tombstones are collected again and again. */
function deletions(stage: Stage, faults: readonly Fault[]): Story {
  return troubled(stage, {
    faults,
    every_ms: [60_000, 600_000],
    faults_ms: 4 * HOUR_MS,
    records_count: 400,
    more: { converged_ms_max: CONVERGED_MS_MAX + LOOKS_MAX * LOOK_MS_MAX },
  });
}

function calm(stage: Stage): Story {
  const last_ms = WARM_UP_MS + (stage.faults_ms ?? FAULTS_MS);
  stage.write(stage.nodes, 50, WARM_UP_MS, last_ms);
  return story(last_ms, true);
}

/** Processes die, and at last a whole host: two and one in clusters of seven and more. They stay dead. */
function kills(stage: Stage): Story {
  const { doomed, last_ms } = killThree(stage, WARM_UP_MS);
  const writers = stage.nodes.filter((id) => !doomed.includes(id));
  stage.write(writers, 50, WARM_UP_MS, last_ms + 1);
  return story(last_ms, true);
}

/** @returns who is killed, and when the last of them is. */
function killThree(stage: Stage, from_ms: number) {
  const { prng, nodes, world } = stage;
  const doomed = prng.sample(nodes, Math.min(3, Math.floor((nodes.length - 1) / 2)));
  let last_ms = from_ms;
  for (const [at, id] of doomed.entries()) {
    last_ms = from_ms + at * 15_000 + prng.between(0, 5000);
    world.at(last_ms, () => stage.kill(id, at === doomed.length - 1));
  }
  return { doomed, last_ms };
}

/** The same while packets are lost, until all have had time to learn of it. The members see first what weather it is. */
function killsInLoss(stage: Stage, loss: number, noticed_ms_max: number): Story {
  const { world, nodes } = stage;
  const from_ms = WARM_UP_MS + LOSS_RISES_MS + LOSS_RISES_MS;
  weather(stage, loss);
  const { doomed, last_ms } = killThree(stage, from_ms);
  const calm_ms = last_ms + noticed_ms_max;
  world.at(calm_ms, () => stage.calm());
  const writers = nodes.filter((id) => !doomed.includes(id));
  stage.write(writers, 50, WARM_UP_MS, calm_ms);
  return story(calm_ms, true, { noticed_ms_max });
}

/**
 * Members are paused for so long that all hold them as failed, come to, and die for good while they refute that: some have
 * heard of it then, and some never do. Up to a tenth of the packets is lost.
 */
function lastWords(stage: Stage): Story {
  const { prng, world, nodes } = stage;
  const doomed = prng.sample(nodes, Math.min(3, Math.floor((nodes.length - 1) / 2)));
  world.at(WARM_UP_MS, () => FAULTS.someLoss(stage));
  let last_ms = WARM_UP_MS;
  for (const [at, id] of doomed.entries()) {
    // Whoever alone has heard the one before has had the time to tell it.
    const paused_ms = last_ms + NOTICED_AFTER_WORDS_MS_MAX + prng.between(0, 5000);
    const lasts_ms = prng.between(8000, 20_000);
    last_ms = paused_ms + lasts_ms + prng.between(0, prng.pick(LAST_WORDS_MS_MAX));
    world.at(paused_ms, () => stage.pause(id, lasts_ms));
    world.at(last_ms, () => stage.kill(id, at !== 1));
  }
  const calm_ms = last_ms + NOTICED_AFTER_WORDS_MS_MAX;
  world.at(calm_ms, () => stage.calm());
  const writers = nodes.filter((id) => !doomed.includes(id));
  stage.write(writers, 50, WARM_UP_MS, calm_ms);
  return story(calm_ms, false, { noticed_ms_max: NOTICED_AFTER_WORDS_MS_MAX });
}

/**
 * One dies for good, and the others are restarted in turn, as for a new version: none remembers it otherwise than by the
 * verdicts on record. Then some die who have given them, and one of those that are left starts once more.
 */
function rollingRestarts(stage: Stage): Story {
  const { prng, world, nodes } = stage;
  const [first, ...others] = prng.sample(nodes, nodes.length) as [NodeId, ...NodeId[]];
  let at_ms = WARM_UP_MS;
  const next = (change: () => void) => {
    world.at(at_ms, change);
    at_ms += ROLLING_MS;
  };
  next(() => stage.kill(first, false));
  for (const id of others) next(() => stage.restart(id, ROLLING_AWAY_MS, false));
  const doomed_count = Math.floor(nodes.length * ROLLING_DOOMED_PART);
  const doomed = others.slice(0, Math.min(others.length - 2, ROLLING_DOOMED_MAX, doomed_count));
  for (const id of doomed) next(() => stage.kill(id, false));
  const last_ms = at_ms + ROLLING_AWAY_MS;
  next(() => stage.restart(others.at(-1)!, ROLLING_AWAY_MS, false));
  stage.write(others.slice(doomed.length), 20, WARM_UP_MS, last_ms);
  // Whoever is restarted learns anew of all deaths before, even of the first.
  return story(last_ms, true, { noticed_ms_max: last_ms - WARM_UP_MS + NOTICED_MS_MAX });
}

/** So many of the packets are lost from now on: no more than a few before the members can know what weather it is. */
function weather({ world }: Stage, loss: number): void {
  world.at(WARM_UP_MS, () => {
    world.network.quality = { ...GOOD, loss: Math.min(loss, LOSS_FIRST) };
  });
  world.at(WARM_UP_MS + LOSS_RISES_MS, () => {
    world.network.quality = { ...GOOD, loss };
  });
}

function partitionHeal(stage: Stage, lasts_ms: number): Story {
  const last_ms = WARM_UP_MS + lasts_ms;
  stage.world.at(WARM_UP_MS, () => FAULTS.partition(stage));
  stage.world.at(last_ms, () => stage.calm());
  stage.write(stage.nodes, 60, WARM_UP_MS, last_ms);
  return story(last_ms, false);
}

/** Half and half for an hour, with writes on both sides all the time. */
function partitionHour(stage: Stage): Story {
  const lasts_ms = stage.faults_ms ?? HOUR_MS;
  const last_ms = WARM_UP_MS + lasts_ms;
  const { nodes, prng } = stage;
  stage.world.at(WARM_UP_MS, () => stage.partition(prng.sample(nodes, Math.ceil(nodes.length / 2))));
  stage.world.at(last_ms, () => stage.calm());
  stage.write(nodes, Math.round((lasts_ms / HOUR_MS) * 2000), WARM_UP_MS, last_ms);
  return story(last_ms, false);
}

/** The network is gone for 20 s, for all. */
function silence(stage: Stage): Story {
  const last_ms = WARM_UP_MS + 20_000;
  stage.world.at(WARM_UP_MS, () => stage.world.network.scatter());
  stage.world.at(last_ms, () => stage.calm());
  stage.write(stage.nodes, 20, WARM_UP_MS, last_ms);
  return story(last_ms, false);
}

/** One host's link is down for 20 s. */
function linkDown(stage: Stage): Story {
  const last_ms = WARM_UP_MS + 20_000;
  stage.world.at(WARM_UP_MS, () => stage.partition([stage.any()]));
  stage.world.at(last_ms, () => stage.calm());
  stage.write(stage.nodes, 20, WARM_UP_MS, last_ms);
  return story(last_ms, false);
}

/** Single records at rest, on a network of equal hops. */
function propagation(stage: Stage): Story {
  const last_ms = WARM_UP_MS + (stage.faults_ms ?? 20_000);
  stage.write(stage.nodes, 30, WARM_UP_MS, last_ms);
  return story(last_ms, true);
}

function idle(stage: Stage): Story {
  return story(WARM_UP_MS + (stage.faults_ms ?? 300_000), true);
}

/**
 * A tenth of the members is paused at any time, for 0.5 to 5 s each, and some of the packets are lost: first a few, and
 * so many once the members have had time to see what weather it is. Meanwhile a host goes silent for good.
 */
function soak(stage: Stage, loss: number, noticed_ms_max: number): Story {
  const last_ms = WARM_UP_MS + (stage.faults_ms ?? 120_000);
  const { world, prng, nodes } = stage;
  const share = 0.1;
  const mean_ms = 2750;
  weather(stage, loss);
  const again = (at_ms: number): void => {
    if (at_ms >= last_ms) return;
    world.at(at_ms, () => {
      FAULTS.pause(stage);
      // Exponential gaps keep the share of the paused about the same.
      const gap_ms = mean_ms / (share * nodes.length);
      again(at_ms - Math.log(1 - prng.next()) * gap_ms);
    });
  };
  again(WARM_UP_MS);
  world.at(last_ms, () => stage.calm());
  stage.write(nodes, 60, WARM_UP_MS, last_ms);
  // Of fewer than that the dead and the paused may be most.
  if (nodes.length >= SOAKED_MIN) {
    const doomed = prng.pick(nodes);
    world.at((WARM_UP_MS + LOSS_RISES_MS + last_ms) / 2, () => stage.kill(doomed, true));
  }
  return story(last_ms, true, { noticed_ms_max: noticed_ms_max + PAUSE_MS_MAX });
}

/** From then until the members have seen what weather it is. */
const LOSS_FIRST = 0.1;
const LOSS_RISES_MS = 30_000;
const SOAKED_MIN = 5;

/**
 * Of `day`: as dense as costs a quarter more at most, in a cluster of a thousand, than one an hour. A tenth that falls
 * silent makes as many verdicts and refutations, which all members take in.
 */
const DAY_PAUSES_MS = 30 * MINUTE_MS;
/** In short runs as many at least. */
const WRITES_PER_HOUR = 60;

/**
 * Again and again a tenth of the members, by lot, is paused at once, for 0.5 to 5 s each, and a tenth of the packets is
 * lost all the time. Soak has more pauses the larger the cluster is, so that no large one can be soaked for a day.
 */
function pausesAtOnce(stage: Stage, every_ms: number): Story {
  const lasts_ms = stage.faults_ms ?? 300_000;
  const last_ms = WARM_UP_MS + lasts_ms;
  const { world, prng, nodes } = stage;
  const paused_count = Math.max(1, Math.round(nodes.length / 10));
  const writes_count = Math.max(WRITES_PER_HOUR, Math.round((lasts_ms / HOUR_MS) * WRITES_PER_HOUR));
  world.at(WARM_UP_MS, () => {
    world.network.quality = { ...GOOD, loss: 0.1 };
  });
  const again = (at_ms: number): void => {
    if (at_ms >= last_ms) return;
    world.at(at_ms, () => {
      for (const id of prng.sample(nodes, paused_count)) stage.pause(id, prng.between(500, 5000));
      again(at_ms + every_ms);
    });
  };
  // A short run has some too.
  again(prng.between(WARM_UP_MS, WARM_UP_MS + Math.min(every_ms, lasts_ms)));
  world.at(last_ms, () => stage.calm());
  stage.write(nodes, writes_count, WARM_UP_MS, last_ms);
  return story(last_ms, true);
}

/** A member is revoked by an operator, and writes on. */
function revocation(stage: Stage): Story {
  const at_ms = WARM_UP_MS + 5000;
  const [judge, ...others] = stage.nodes as [NodeId, ...NodeId[]];
  const offender = stage.prng.pick(others);
  stage.world.at(at_ms, () => {
    stage.revoked.set(offender, stage.world.now_ms);
    stage.world.command(judge, `revoke:${offender}`);
  });
  stage.write(stage.nodes, 20, WARM_UP_MS, at_ms - 1000);
  stage.write([offender], 20, at_ms + 1000, at_ms + 20_000);
  stage.write(
    others.filter((id) => id !== offender),
    20,
    at_ms,
    at_ms + 20_000,
  );
  return story(at_ms + 20_000, true);
}

/** The same where the member cannot hear of it: those on its side take what it writes, until the sides meet again. */
function revocationApart(stage: Stage): Story {
  const at_ms = WARM_UP_MS + 5000;
  const last_ms = at_ms + 30_000;
  const { prng, world, nodes } = stage;
  const [judge, ...others] = nodes as [NodeId, ...NodeId[]];
  const [offender, ...rest] = prng.sample(others, others.length) as [NodeId, ...NodeId[]];
  world.at(WARM_UP_MS, () => stage.partition([offender, ...rest.slice(0, Math.ceil(rest.length / 2))]));
  world.at(at_ms, () => {
    stage.revoked.set(offender, world.now_ms);
    world.command(judge, `revoke:${offender}`);
  });
  world.at(last_ms, () => stage.calm());
  stage.write(nodes, 20, WARM_UP_MS, at_ms - 1000);
  stage.write([offender], 20, at_ms + 1000, last_ms - 1000);
  stage.write([judge, ...rest], 20, at_ms, last_ms);
  return story(last_ms, false);
}

/** Members come that were never there, others leave for long and come back. */
function churn(stage: Stage): Story {
  for (const id of stage.newcomers) {
    const at_ms = stage.prng.between(WARM_UP_MS, WARM_UP_MS + FAULTS_MS);
    stage.world.at(at_ms, () => stage.world.start(id));
  }
  return troubled(stage, {
    faults: ['away', 'processDeath', 'hostDeath'],
    every_ms: [5000, 30_000],
    faults_ms: 900_000,
  });
}

function byzantine(attack: Attack): Scenario {
  return {
    what: `one member in ten, or one, does harm: ${attack}`,
    attack,
    tell: (stage) => {
      const last_ms = WARM_UP_MS + (stage.faults_ms ?? 30_000);
      stage.write(stage.nodes, 40, WARM_UP_MS, last_ms);
      // They go on to the end: nothing is made good but the network.
      return story(last_ms, true);
    },
  };
}

/** How the members of a real fleet reach one another. */
function fleet(at: number): Access {
  return [ACCESS.lan, ACCESS.lan, ACCESS.wan, ACCESS.mobile][at % 4]!;
}

const EVERYTHING = (Object.keys(FAULTS) as Fault[]).filter((name) => name !== 'clockLeap');

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  calm: { what: 'writes, and no fault', tell: calm },
  idle: { what: 'no writes, no fault: what rest costs', tell: idle },
  wan: { what: 'hosts on LAN, WAN and mobile links, and no fault', access: fleet, tell: calm },
  satellite: {
    what: 'some 300 ms from any host to any other, and no fault',
    access: () => ACCESS.satellite,
    tell: calm,
  },
  'satellite-soak': {
    what: 'the soak of paused members and lost packets on such links',
    access: () => ACCESS.satellite,
    tell: (stage) => soak(stage, 0.1, NOTICED_BY_SATELLITE_MS_MAX),
  },
  loss: {
    what: 'up to 10 % of packets are lost',
    tell: (stage) => troubled(stage, { faults: ['someLoss'], every_ms: [2000, 10_000], isMild: true }),
  },
  'heavy-loss': {
    what: 'up to 30 % of packets are lost',
    tell: (stage) => troubled(stage, { faults: ['loss'], every_ms: [2000, 10_000], isMild: true }),
  },
  'mobile-loss': {
    what: 'the same on LAN, WAN and mobile links',
    access: fleet,
    tell: (stage) => troubled(stage, { faults: ['loss', 'move'], every_ms: [2000, 10_000] }),
  },
  disorder: {
    what: 'messages come twice, and overtake one another',
    tell: (stage) =>
      troubled(stage, { faults: ['duplication', 'reordering'], every_ms: [2000, 10_000], isMild: true }),
  },
  'one-way': {
    what: 'single directions between two hosts are cut',
    tell: (stage) =>
      troubled(stage, { faults: ['oneWayCut', 'oneWayCut', 'heal'], every_ms: [2000, 15_000] }),
  },
  'partition-heal': {
    what: 'two sides for 45 s',
    hasOwnTime: true,
    tell: (stage) => partitionHeal(stage, 45_000),
  },
  'partition-two-minutes': {
    what: 'two sides for two minutes: no connection is given up before they meet again',
    hasOwnTime: true,
    tell: (stage) => partitionHeal(stage, 2 * MINUTE_MS),
  },
  'partition-hour': { what: 'half and half for an hour, with writes on both sides', tell: partitionHour },
  'moving-partitions': {
    what: 'the sides change all the time',
    tell: (stage) =>
      troubled(stage, { faults: ['partition', 'partition', 'heal'], every_ms: [1000, 15_000] }),
  },
  silence: { what: 'the network is gone for 20 s, for all', hasOwnTime: true, tell: silence },
  'link-down': { what: 'the link of one host is down for 20 s', hasOwnTime: true, tell: linkDown },
  kills: { what: 'two processes and a host die for good', nodes_min: 3, hasOwnTime: true, tell: kills },
  'kills-in-loss': {
    what: 'the same while a tenth of the packets is lost',
    nodes_min: 3,
    hasOwnTime: true,
    tell: (stage) => killsInLoss(stage, LOSS_FIRST, NOTICED_IN_LOSS_MS_MAX),
  },
  'kills-in-heavy-loss': {
    what: 'the same with 30 % of the packets lost, once they have been 10 %',
    nodes_min: 3,
    hasOwnTime: true,
    tell: (stage) => killsInLoss(stage, 0.3, NOTICED_IN_HEAVY_LOSS_MS_MAX),
  },
  'last-words': {
    what: 'members that were paused until they were given up come to, and die while they refute that',
    nodes_min: 3,
    hasOwnTime: true,
    tell: lastWords,
  },
  'rolling-restarts': {
    what: 'one dies, the others are restarted in turn, some of them die too, and one starts once more',
    nodes_min: 3,
    hasOwnTime: true,
    tell: rollingRestarts,
  },
  churn: {
    what: 'members come, leave for up to ten minutes, and come back',
    newcomers_count: (nodes_count) => Math.floor(nodes_count / 4),
    tell: churn,
  },
  'torn-disks': {
    what: 'power fails amid writes, and some of the disk cannot be read after it',
    tell: (stage) => troubled(stage, { faults: ['tornDisk', 'hostDeath'], every_ms: [2000, 15_000] }),
  },
  rollback: {
    what: 'hosts come back with an old image of their disk',
    tell: (stage) =>
      troubled(stage, {
        faults: ['photograph', 'photograph', 'rollback', 'rollback'],
        every_ms: [500, 3000],
      }),
  },
  'clock-jumps': {
    what: 'clocks jump by up to ten minutes, either way',
    // What is written with a clock that is ahead is not taken before its time.
    tell: (stage) =>
      troubled(stage, {
        faults: ['clockLeap', 'clockJump'],
        every_ms: [2000, 15_000],
        more: { converged_ms_max: 1_200_000 },
      }),
  },
  stalls: {
    what: 'event loops stand still for up to 200 ms',
    tell: (stage) => troubled(stage, { faults: ['stall'], every_ms: [10, 200], isMild: true }),
  },
  pauses: {
    what: 'processes are paused for up to two minutes',
    tell: (stage) =>
      troubled(stage, {
        faults: ['pause', 'pause', 'longPause'],
        every_ms: [1000, 10_000],
        more: { converged_ms_max: 180_000 },
      }),
  },
  'mixed-versions': {
    what: 'half of the nodes write kinds, fields and header fields that the others do not know',
    tell: (stage) => {
      const newer = stage.nodes.filter((_, at) => at % 2 === 0);
      stage.write(newer, 20, WARM_UP_MS, WARM_UP_MS + FAULTS_MS, 'novel');
      stage.write(newer, 20, WARM_UP_MS, WARM_UP_MS + FAULTS_MS, 'header');
      return troubled(stage, { faults: ['partition', 'heal', 'processDeath'], every_ms: [2000, 15_000] });
    },
  },
  revocation: {
    what: 'a member is revoked, and writes on',
    nodes_min: 3,
    hasOwnTime: true,
    tell: revocation,
  },
  'revocation-apart': {
    what: 'the same where the member cannot hear of it: two sides, which meet afterwards',
    nodes_min: 3,
    hasOwnTime: true,
    tell: revocationApart,
  },
  propagation: {
    what: 'single records at rest, 20 ms from any host to any other',
    access: () => ACCESS.hop20,
    tell: propagation,
  },
  deletions: {
    what: 'hours of writes and deletions, with collections, while hosts go and come back late',
    tell: (stage) => deletions(stage, ['away', 'hostDeath', 'partition', 'heal', 'heal']),
  },
  'deletions-old-disks': {
    what: 'the same, and hosts come back with damaged disks or old images of them',
    tell: (stage) =>
      deletions(stage, ['away', 'tornDisk', 'partition', 'heal', 'heal', 'photograph', 'rollback']),
  },
  soak: {
    what: 'a tenth is paused at any time, a tenth of packets lost; see --hours',
    tell: (stage) => soak(stage, 0.1, NOTICED_IN_LOSS_MS_MAX),
  },
  'heavy-soak': {
    what: 'the same with 30 % of the packets lost, once they have been 10 %',
    tell: (stage) => soak(stage, 0.3, NOTICED_IN_HEAVY_LOSS_MS_MAX),
  },
  'soak-day': {
    what: 'a tenth is paused at once every minute, a tenth of packets lost',
    tell: (stage) => pausesAtOnce(stage, MINUTE_MS),
  },
  day: {
    what: 'a tenth is paused at once every half hour, a tenth of packets lost all the time',
    tell: (stage) => pausesAtOnce(stage, DAY_PAUSES_MS),
  },
  ...Object.fromEntries(ATTACKS.map((attack) => [`byzantine-${attack}`, byzantine(attack)])),
  mixed: {
    what: 'everything at once',
    access: fleet,
    newcomers_count: (nodes_count) => Math.floor(nodes_count / 8),
    tell: (stage) => {
      for (const id of stage.newcomers) {
        stage.world.at(stage.prng.between(WARM_UP_MS, WARM_UP_MS + FAULTS_MS), () => stage.world.start(id));
      }
      const newer = stage.nodes.filter((_, at) => at % 2 === 0);
      stage.write(newer, 10, WARM_UP_MS, WARM_UP_MS + FAULTS_MS, 'novel');
      return troubled(stage, {
        faults: EVERYTHING,
        every_ms: [200, 4000],
        faults_ms: 90_000,
        records_count: 80,
        more: { converged_ms_max: 180_000 },
      });
    },
  },
};
