/**
 * What crash.test.ts does to a data directory while it is written down. argv: the scenario. Each write is marked
 * before it begins and after it was acknowledged; what it writes follows from its number alone (crash-writes.ts).
 */
import { openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { DataDirectory } from '../../../daemon/store/data-directory.ts';
import { batchOf, SCENARIOS, type Scenario, type ScenarioName } from './crash-writes.ts';

const scenario: Scenario = SCENARIOS[process.argv[2] as ScenarioName];
const marks = openSync(process.env['SHOAL_DISK_MARKS']!, 'a', 0o600);
const mark = (text: string) => writeSync(marks, text);
const place = path.join(process.env['SHOAL_DISK_ROOT']!, 'data');

let directory = new DataDirectory(place, nodeCrypto);
mark(`seed ${Buffer.from(directory.seed).toString('hex')}`);
for (let n = scenario.first; n <= scenario.last; n += 1) {
  if (n === scenario.reopenAt) {
    directory[Symbol.dispose]();
    directory = new DataDirectory(place, nodeCrypto);
  }
  mark(`begin ${n}`);
  directory.store.write(batchOf(n, scenario));
  mark(`done ${n}`);
}
if (scenario.replaces) {
  directory.store.replace(directory.store.load().records);
  mark('replaced');
}
directory[Symbol.dispose]();
