/** Single faults, each with a name. A scenario has one of them happen again and again, or any of them by lot. */
import { ACCESS, GOOD } from './network.ts';
import type { Stage } from './stage.ts';

/** Milliseconds, from and to. */
type Span = readonly [number, number];

const SHORT: Span = [100, 15_000];
const LONG: Span = [60_000, 600_000];

function lot(stage: Stage, [from, to]: Span): number {
  return stage.prng.between(from, to);
}

function quality(stage: Stage, change: Partial<typeof GOOD>): void {
  const { network } = stage.world;
  network.quality = { ...network.quality, ...change };
}

export const FAULTS = {
  loss: (stage) => quality(stage, { loss: stage.prng.between(0, 0.3) }),
  someLoss: (stage) => quality(stage, { loss: stage.prng.between(0, 0.1) }),
  duplication: (stage) => quality(stage, { duplication: stage.prng.between(0, 0.3) }),
  reordering: (stage) => quality(stage, { reordering: stage.prng.between(0, 0.3) }),
  goodWeather: (stage) => quality(stage, GOOD),
  oneWayCut: (stage) => {
    const [from, to] = stage.prng.sample(stage.nodes, 2);
    stage.cut(from!, to!);
  },
  partition: (stage) => {
    const { nodes, prng } = stage;
    stage.partition(prng.sample(nodes, 1 + Math.floor(prng.next() * (nodes.length - 1))));
  },
  heal: (stage) => stage.world.network.heal(),
  processDeath: (stage) => stage.restart(stage.any(), lot(stage, SHORT), false),
  hostDeath: (stage) => stage.restart(stage.any(), lot(stage, SHORT), true),
  away: (stage) => stage.restart(stage.any(), lot(stage, LONG), stage.prng.chance(0.5)),
  tornDisk: (stage) => stage.tear(stage.any(), lot(stage, SHORT)),
  photograph: (stage) => stage.photograph(stage.any()),
  rollback: (stage) => stage.rollBack(stage.any(), lot(stage, SHORT)),
  stall: (stage) => stage.stall(stage.any(), stage.prng.between(50, 200)),
  pause: (stage) => stage.pause(stage.any(), stage.prng.between(500, 5000)),
  longPause: (stage) => stage.pause(stage.any(), stage.prng.between(10_000, 120_000)),
  clockJump: (stage) => stage.jump(stage.any(), stage.prng.between(-45_000, 45_000)),
  clockLeap: (stage) => stage.jump(stage.any(), stage.prng.between(-600_000, 300_000)),
  move: (stage) => {
    const access = stage.prng.pick([ACCESS.lan, ACCESS.wan, ACCESS.mobile]);
    stage.world.network.setAccess(stage.world.host(stage.any()).at, access);
  },
} as const satisfies Record<string, (stage: Stage) => void>;

export type Fault = keyof typeof FAULTS;
