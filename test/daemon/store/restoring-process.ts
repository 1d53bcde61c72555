/** Opens an older copy of a store, whose epoch is to be put back, on a disk that refuses at first. Prints JSON. */
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';

const file = path.join(process.env['SHOAL_DISK_ROOT']!, 'state.db');
const fault = process.env['SHOAL_DISK_FAULT']!;
const nothing = { put: [], remove: [], streams: [] };
const NAME = 'epoch/me';
const epochs: Record<string, string | undefined> = {};

function live(work: (store: StateStore) => void): void {
  const store = new StateStore(file, nodeCrypto);
  work(store);
  store.close();
}

live((store) =>
  store.write({
    ...nothing,
    values: [
      ['genesis', 'one'],
      [NAME, '7'],
    ],
  }),
);
copyFileSync(file, `${file}.older`);
live((store) => store.write({ ...nothing, values: [[NAME, '8']] }));
copyFileSync(`${file}.older`, file);
writeFileSync(fault, `${constants.errno.ENOSPC} w`);
live((store) => {
  epochs['at the start'] = store.value(NAME);
  try {
    store.write({ ...nothing, values: [['other', 'x']] });
  } catch {
    epochs['after a write that was refused'] = store.value(NAME);
  }
  rmSync(fault);
  store.write({ ...nothing, values: [['other', 'y']] });
  rmSync(`${file}.spare`);
});
live((store) => {
  epochs['at the next start'] = store.value(NAME);
});
process.stdout.write(JSON.stringify(epochs));
