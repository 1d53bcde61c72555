/** A process that writes records and prints the digest of each that was acknowledged, until it is killed. argv: file */
import { writeSync } from 'node:fs';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import { recordOf } from './records.ts';

const store = new StateStore(process.argv[2]!, nodeCrypto);
let before = store.load().records.find(({ key }) => key === 'latest');
for (let seq = Number(process.argv[3]); ; seq += 1) {
  const kept = recordOf(seq, `kept-${seq}`);
  const latest = recordOf(seq + 1_000_000, 'latest');
  store.write({
    put: [kept, latest],
    remove: before === undefined ? [] : [before],
    streams: [['writer/0', seq]],
    values: [['seq', String(seq)]],
  });
  before = latest;
  writeSync(1, `${seq} ${kept.digest} ${latest.digest}\n`);
}
