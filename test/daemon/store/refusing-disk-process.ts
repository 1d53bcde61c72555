/** Writes to a store whose disk refuses now and then, and says what became of each write. Prints JSON. */

import { rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import { recordOf } from './records.ts';

const file = path.join(process.env['SHOAL_DISK_ROOT']!, 'state.db');
const fault = process.env['SHOAL_DISK_FAULT']!;
let store = new StateStore(file, nodeCrypto);
const acknowledged: string[] = [];
const outcomes: Record<string, string> = {};
let seq = 0;

function write(): string {
  seq += 1;
  const record = recordOf(seq, `k${seq}`, 3000);
  try {
    store.write({ put: [record], remove: [], streams: [['x/0', seq]] });
    acknowledged.push(record.digest);
    return 'written';
  } catch (error) {
    return String((error as { code?: unknown }).code ?? error);
  }
}

write();
for (const [name, number] of Object.entries({
  EIO: constants.errno.EIO,
  ENOSPC: constants.errno.ENOSPC,
  EROFS: constants.errno.EROFS,
  EDQUOT: constants.errno.EDQUOT,
})) {
  for (const ops of ['w', 's', 'ws']) {
    writeFileSync(fault, `${number} ${ops}`);
    outcomes[`${name} ${ops}`] = write();
    rmSync(fault);
    outcomes[`${name} ${ops} gone`] = write();
  }
}
const held = store.load().records.map(({ digest }) => digest);
store.close();
store = new StateStore(file, nodeCrypto);
const again = store.load().records.map(({ digest }) => digest);
const damage = store.damage;
store.close();
process.stdout.write(JSON.stringify({ outcomes, acknowledged, held, again, damage }));
