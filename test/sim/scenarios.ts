/**
 * What happens to a cluster in a run: faults and writes at virtual times, all drawn from the seed.
 * Not here: what must hold (checkers/).
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import { GOOD, LOSSY } from './network.ts';
import type { SimNode } from './sim-node.ts';
import type { Simulator } from './simulator.ts';

/** Time for first dials and probes before anything happens. */
const WARM_UP_MS = 10_000;
/** After the last fault: the longest redial backoff, and some. */
const SETTLE_MS = 60_000;

export interface Story {
  readonly end_ms: number;
  readonly lastFault_ms: number;
  /** Crashed, and not started again. */
  readonly dead: ReadonlyMap<NodeId, number>;
  /** Faults so mild that nobody may be called failed at any time, but the dead. */
  readonly isMild: boolean;
}

export type World = Simulator<SimNode, unknown>;
type Scenario = (world: World, nodes: readonly NodeId[]) => Story;

/** `count` records, each by a lot of `writers`, spread over a time. */
function write(
  world: World,
  writers: readonly NodeId[],
  count: number,
  from_ms: number,
  to_ms: number,
): void {
  for (let number = 0; number < count; number += 1) {
    const [writer] = world.prng.sample(writers, 1);
    const at_ms = world.prng.between(from_ms, to_ms);
    world.at(at_ms, () => world.command(writer!, `record-${from_ms}:${number}`));
  }
}

function story(lastFault_ms: number, isMild: boolean, dead: ReadonlyMap<NodeId, number> = new Map()): Story {
  return { end_ms: lastFault_ms + SETTLE_MS, lastFault_ms, dead, isMild };
}

function calm(world: World, nodes: readonly NodeId[]): Story {
  write(world, nodes, 50, WARM_UP_MS, 40_000);
  return story(WARM_UP_MS, true);
}

function loss(world: World, nodes: readonly NodeId[]): Story {
  const last_ms = WARM_UP_MS + 60_000;
  world.at(WARM_UP_MS, () => {
    world.network.quality = LOSSY;
  });
  world.at(last_ms, () => {
    world.network.quality = GOOD;
  });
  write(world, nodes, 50, WARM_UP_MS, last_ms);
  return story(last_ms, true);
}

function partitionHeal(world: World, nodes: readonly NodeId[]): Story {
  const last_ms = WARM_UP_MS + 45_000;
  const shuffled = world.prng.sample(nodes, nodes.length);
  const left_count = Math.floor(world.prng.between(1, nodes.length));
  world.at(WARM_UP_MS, () =>
    world.network.partition(shuffled.slice(0, left_count), shuffled.slice(left_count)),
  );
  world.at(last_ms, () => world.network.heal());
  write(world, nodes, 60, WARM_UP_MS, last_ms);
  return story(last_ms, false);
}

function kills(world: World, nodes: readonly NodeId[]): Story {
  const dead = new Map<NodeId, number>();
  const doomed = world.prng.sample(nodes, Math.min(3, Math.floor((nodes.length - 1) / 2)));
  for (const [at, id] of doomed.entries()) {
    const at_ms = WARM_UP_MS + at * 15_000 + world.prng.between(0, 5000);
    // Two processes and a whole host.
    world.at(at_ms, () => world.crash(id, at === 2));
    dead.set(id, at_ms);
  }
  const last_ms = Math.max(WARM_UP_MS, ...dead.values());
  write(
    world,
    nodes.filter((id) => !dead.has(id)),
    50,
    WARM_UP_MS,
    last_ms,
  );
  return story(last_ms, true, dead);
}

function pauses(world: World, nodes: readonly NodeId[]): Story {
  const last_ms = WARM_UP_MS + 60_000;
  world.at(WARM_UP_MS, () => {
    world.network.quality = { ...GOOD, loss: 0.1 };
  });
  world.at(last_ms, () => {
    world.network.quality = GOOD;
  });
  for (let at_ms = WARM_UP_MS; at_ms < last_ms; at_ms += world.prng.between(50, 400)) {
    const [id] = world.prng.sample(nodes, 1);
    world.at(at_ms, () => world.pause(id!, world.prng.between(50, 200)));
  }
  write(world, nodes, 50, WARM_UP_MS, last_ms);
  return story(last_ms, true);
}

/** Everything at once: loss, long pauses, one-way cuts, moving partitions, crashes of all kinds and restarts. */
function mixed(world: World, nodes: readonly NodeId[]): Story {
  const last_ms = WARM_UP_MS + 90_000;
  world.at(WARM_UP_MS, () => {
    world.network.quality = { ...LOSSY, loss: 0.1 };
  });
  for (let at_ms = WARM_UP_MS; at_ms < last_ms - 20_000; at_ms += world.prng.between(500, 4000)) {
    const [a, b] = world.prng.sample(nodes, 2) as [NodeId, NodeId];
    const lot = world.prng.next();
    world.at(at_ms, () => {
      if (lot < 0.3) world.pause(a, world.prng.between(100, 5000));
      else if (lot < 0.5) world.network.cut(a, b);
      else if (lot < 0.6) {
        const side = world.prng.sample(nodes, Math.floor(nodes.length / 3));
        world.network.partition(
          side,
          nodes.filter((id) => !side.includes(id)),
        );
      } else if (lot < 0.75) world.network.heal();
      else {
        world.crash(a, lot < 0.87);
        world.at(world.now_ms + world.prng.between(100, 15_000), () => world.start(a));
      }
    });
  }
  world.at(last_ms, () => {
    world.network.heal();
    world.network.quality = GOOD;
    for (const id of nodes) world.start(id);
  });
  write(world, nodes, 80, WARM_UP_MS, last_ms);
  return story(last_ms, false);
}

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  calm,
  loss,
  'partition-heal': partitionHeal,
  kills,
  pauses,
  mixed,
};
