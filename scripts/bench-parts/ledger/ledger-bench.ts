/**
 * `ledger`: how many updates a second our ledger takes, next to the maps of yjs, automerge and loro, and next to what
 * this machine's Ed25519 allows; and what a repair between two members costs. By CPU time; each contestant in a
 * process of its own, and they take turns.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Bench, BenchOptions } from '../bench.ts';
import { compareRounds, type Line } from '../result.ts';
import { Contestant } from './contestant.ts';
import { PEERS_DIRECTORY } from './peer-replicas.ts';
import { repairLines } from './repair.ts';
import type { Grouping } from './replica.ts';
import { CONTESTANTS, type ContestantName } from './replica-process.ts';
import { BATCH } from './trace.ts';

const PEERS: readonly ContestantName[] = ['yjs', 'automerge', 'loro'];
const UNIT = 'updates/CPU s';

export const ledgerBench: Bench = {
  name: 'ledger',
  about:
    'updates a second, unsigned and signed, next to yjs, automerge, loro and bare Ed25519; cost of a repair',

  async whyNot() {
    return existsSync(path.join(PEERS_DIRECTORY, 'node_modules'))
      ? null
      : 'yjs, automerge and loro are not installed: start it by scripts/bench, or run npm ci in scripts/bench-parts/peers';
  },

  async *run(options: BenchOptions): AsyncIterable<Line> {
    yield* groupingLines('one', options);
    yield* groupingLines('batch', options);
    options.say('repair between two members');
    yield* repairLines();
  },
};

async function* groupingLines(
  grouping: Grouping,
  { rounds, signal, say }: BenchOptions,
): AsyncIterable<Line> {
  const how = grouping === 'one' ? 'one update a message' : `${BATCH} updates a message`;
  const rates = new Map<ContestantName, number[]>(CONTESTANTS.map((name) => [name, []]));
  using stack = new DisposableStack();
  const contestants: Contestant[] = [];
  for (const name of CONTESTANTS) {
    say(`${how}: ${name} writes its messages`);
    contestants.push(stack.use(await Contestant.start(name, grouping, signal)));
  }
  for (let round = 1; round <= rounds; round += 1) {
    say(`${how}: round ${round} of ${rounds}`);
    for (const contestant of contestants) rates.get(contestant.name)!.push(await contestant.round());
  }
  const of = (name: ContestantName) => rates.get(name)!;
  for (const name of PEERS) {
    const subject = { name: `ledger-unsigned-${grouping}`, unit: UNIT };
    yield compareRounds(subject, of('shoal-unsigned'), { name, values: of(name) });
  }
  const signed = { name: `ledger-signed-${grouping}`, unit: UNIT };
  yield compareRounds(signed, of('shoal-signed'), {
    name: 'node:crypto Ed25519 verify',
    values: of('ed25519'),
  });
}
