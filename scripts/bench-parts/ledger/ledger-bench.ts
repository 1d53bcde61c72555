/**
 * `ledger`: how many updates a second our ledger takes, next to the maps of yjs, automerge and loro, and next to what
 * this machine's Ed25519 allows; and what a repair between two members costs. By CPU time; each contestant in a
 * process of its own, and they take turns.
 *
 * For all it is the same trace (trace.ts), from the bytes of messages to a state that is then read and compared. What
 * they do with it differs, and it is not made equal: ours judges who may write each update, keeps its bytes to pass
 * them on, looks for copied keys and quotas, says what is to be made durable, and at the end makes the fingerprints of
 * ranges, once. An update's name is its SHA-256, made when somebody first asks for it: here the fingerprints do, of
 * what is live at the end; in a daemon the disk does, of all that it is given, which costs about half a microsecond
 * each. yjs, automerge and loro do none of that but automerge's hash of each change; they keep the history, or what
 * merging it takes, which ours does not. `unsigned` leaves out Ed25519 and what is handed to it.
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
const VERIFY = 'one Ed25519 verify each';
const HOW: Readonly<Record<Grouping, string>> = {
  one: 'one update a message',
  batch: `${BATCH} updates a message`,
  seal: `${BATCH} updates under one signature`,
};

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
    options.say('repair between two members');
    yield* repairLines();
    yield* groupingLines('one', options);
    yield* groupingLines('batch', options);
    yield* sealLines(options);
  },
};

async function* groupingLines(grouping: Grouping, options: BenchOptions): AsyncIterable<Line> {
  const rates = await measure(grouping, CONTESTANTS, options);
  for (const name of PEERS) {
    const subject = { name: `ledger-unsigned-${grouping}`, unit: UNIT };
    yield compareRounds(subject, rates('shoal-unsigned'), { name, values: rates(name) });
  }
  const signed = { name: `ledger-signed-${grouping}`, unit: UNIT };
  yield compareRounds(signed, rates('shoal-signed'), { name: VERIFY, values: rates('ed25519') });
}

/** Many records under one signature: next to one signature each, and to none at all. */
async function* sealLines(options: BenchOptions): AsyncIterable<Line> {
  const rates = await measure('seal', ['shoal-signed', 'shoal-unsigned', 'ed25519'], options);
  const subject = { name: 'ledger-signed-seal', unit: UNIT };
  yield compareRounds(subject, rates('shoal-signed'), { name: VERIFY, values: rates('ed25519') });
  const unsigned = { name: 'the same unsigned', values: rates('shoal-unsigned') };
  yield compareRounds(subject, rates('shoal-signed'), unsigned);
}

/** @returns the rates of each contestant, one a round. */
async function measure(
  grouping: Grouping,
  names: readonly ContestantName[],
  { rounds, signal, say }: BenchOptions,
): Promise<(name: ContestantName) => readonly number[]> {
  const rates = new Map<ContestantName, number[]>(names.map((name) => [name, []]));
  using stack = new DisposableStack();
  const contestants: Contestant[] = [];
  for (const name of names) {
    say(`${HOW[grouping]}: ${name} writes its messages`);
    contestants.push(stack.use(await Contestant.start(name, grouping, signal)));
  }
  for (let round = 1; round <= rounds; round += 1) {
    say(`${HOW[grouping]}: round ${round} of ${rounds}`);
    for (const contestant of contestants) rates.get(contestant.name)!.push(await contestant.round());
  }
  return (name) => rates.get(name)!;
}
