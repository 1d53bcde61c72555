/**
 * What anti-entropy between two members costs on the wire when they differ by some records among many: bytes and
 * messages, next to the bytes of the difference itself. Counts, not times: one round tells all.
 */
import {
  cluster,
  exchange,
  introduce,
  NOW,
  type TestNode,
  write,
} from '../../../test/protocols/ledger/fixtures.ts';
import { compareRounds, type Line } from '../result.ts';
import { makeTrace } from './trace.ts';

const RECORDS = 10_000;
const AUTHORS = 10;
const DIFFERENCES = [0, 1, 10, 100, 1_000];
const VALUE_BYTES = 300;

export function* repairLines(): Iterable<Line> {
  const values = makeTrace({ keys: 1, updates: RECORDS, value_bytes: VALUE_BYTES }).map(({ value }) => value);
  const nodes = cluster(AUTHORS);
  const [left, right] = nodes as [TestNode, TestNode];
  const common = values.map((value, at) => writeOwn(nodes[at % AUTHORS]!, `common-${at}`, value));
  for (const { machine } of [left, right]) introduce(machine, common, NOW);
  for (const difference of DIFFERENCES) {
    const own = Array.from({ length: difference }, (_, at) =>
      writeOwn(at % 2 === 0 ? left : right, `${difference}-${at}`, values[at]!),
    );
    const { bytes, messages } = exchange(left, right);
    if (left.machine.ledger.hash !== right.machine.ledger.hash)
      throw new Error(`anti-entropy ended with ledgers that differ, at a difference of ${difference}`);
    const least = own.reduce((sum, record) => sum + record.bytes.byteLength, 0);
    const name = `ledger-repair-${difference}-of-${RECORDS}`;
    const peer = least === 0 ? null : { name: 'the records that differ', values: [least] };
    yield compareRounds({ name: `${name}-bytes`, unit: 'bytes' }, [bytes], peer);
    yield compareRounds({ name: `${name}-messages`, unit: 'messages' }, [messages], null);
  }
}

function writeOwn({ machine, signer }: TestNode, key: string, text: string) {
  return write(machine, signer.id, 'alloc', `${signer.id}/${key}`, { text });
}
