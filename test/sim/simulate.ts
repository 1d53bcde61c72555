/** One whole run: a founded cluster, a scenario, all checkers, and what was measured. Same arguments, same result. */
import { LAN, type MembershipConfig } from '../../protocols/membership/config.ts';
import { boundsHold } from './checkers/bounds-hold.ts';
import type { Checker, Run } from './checkers/checker.ts';
import { deathsAreNoticed, noticed_ms } from './checkers/deaths-are-noticed.ts';
import { ledgersAgree } from './checkers/ledgers-agree.ts';
import { noFalseVerdicts } from './checkers/no-false-verdicts.ts';
import { recordsSurvive } from './checkers/records-survive.ts';
import { viewsConverge } from './checkers/views-converge.ts';
import { SCENARIOS, type World } from './scenarios.ts';
import { foundCluster, shoalNodes } from './shoal-node.ts';
import { Simulator } from './simulator.ts';

const CHECKERS: Readonly<Record<string, Checker>> = {
  'views converge': viewsConverge,
  'no false verdicts': noFalseVerdicts,
  'deaths are noticed': deathsAreNoticed,
  'acknowledged records survive': recordsSurvive,
  'ledgers agree': ledgersAgree,
  'bounds hold': boundsHold,
};

const FOUNDED_MS = 1_799_999_000_000;
/** Clocks of hosts differ by up to this much either way. */
const SKEW_MS_MAX = 200;
/** All are switched on at about the same time. */
const BOOT_MS_MAX = 1000;

export interface SimulationInit {
  readonly nodes_count: number;
  readonly seed: number;
  readonly scenario: string;
  readonly config?: MembershipConfig;
}

export interface Report {
  readonly nodes_count: number;
  readonly seed: number;
  readonly scenario: string;
  readonly violations: readonly string[];
  readonly virtual_ms: number;
  readonly events_count: number;
  /** Every time that a view called a member failed, or doubted one. */
  readonly failed_count: number;
  readonly suspect_count: number;
  readonly refutations_count: number;
  readonly isolations_count: number;
  readonly acknowledged_count: number;
  readonly records_count: number;
  readonly noticed_ms: readonly (number | null)[];
  /** Hex SHA-256 of all that happened. */
  readonly trace: string;
}

/** @throws RangeError for a scenario that there is not, or fewer than 2 nodes. */
export function play(init: SimulationInit): Run {
  const { nodes_count, seed, scenario } = init;
  const tell = Object.hasOwn(SCENARIOS, scenario) ? SCENARIOS[scenario] : undefined;
  if (tell === undefined)
    throw new RangeError(`no scenario ${scenario}: ${Object.keys(SCENARIOS).join(', ')}`);
  if (!Number.isSafeInteger(nodes_count) || nodes_count < 2) throw new RangeError('2 nodes or more');
  const world = new Simulator(`${scenario}/${nodes_count}/${seed}`, shoalNodes(init.config ?? LAN));
  for (const [id, disk] of foundCluster(nodes_count, FOUNDED_MS)) {
    world.add(id, disk, Math.round(world.prng.between(-SKEW_MS_MAX, SKEW_MS_MAX)));
    world.at(world.prng.between(0, BOOT_MS_MAX), () => world.start(id));
  }
  const story = tell(world as unknown as World, [...world.hosts.keys()]);
  world.runUntil(story.end_ms);
  const living = new Map(
    [...world.hosts].flatMap(([id, { node }]) => (node === null ? [] : [[id, node] as const])),
  );
  return { world, story, living };
}

/** Plays a run, judges it and measures it. @throws as `play`. */
export function simulate(init: SimulationInit): Report {
  const { nodes_count, seed, scenario } = init;
  const run = play(init);
  const { world, story, living } = run;
  const violations = Object.entries(CHECKERS).flatMap(([name, check]) =>
    check(run).map((violation) => `${name}: ${violation}`),
  );
  const count = (accept: (fact: (typeof world.facts)[number]['fact']) => boolean) =>
    world.facts.filter(({ fact }) => accept(fact)).length;
  return {
    nodes_count,
    seed,
    scenario,
    violations,
    virtual_ms: story.end_ms,
    events_count: world.trace.events_count,
    failed_count: count((fact) => fact.kind === 'status' && fact.status === 'failed'),
    suspect_count: count((fact) => fact.kind === 'status' && fact.status === 'suspect'),
    refutations_count: count((fact) => fact.kind === 'refute'),
    isolations_count: count((fact) => fact.kind === 'isolated' && fact.isolated),
    acknowledged_count: count((fact) => fact.kind === 'acknowledged'),
    records_count: [...living.values()][0]?.ledger.ledger.size ?? 0,
    noticed_ms: noticed_ms(run).map(({ ms }) => ms),
    trace: world.trace.digest(),
  };
}

/** The one command that plays this run again. */
export function replayCommand({ nodes_count, seed, scenario }: SimulationInit): string {
  return `node scripts/simulate.ts --nodes ${nodes_count} --seed ${seed} --scenario ${scenario}`;
}
