/** Fills the small disk that it is given, and says what the store did. argv: a directory on it. Prints JSON. */
import { openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import { recordOf } from './records.ts';

const directory = process.argv[2]!;
const ballast = path.join(directory, 'ballast');
const store = new StateStore(path.join(directory, 'state.db'), nodeCrypto);
writeFileSync(ballast, Buffer.alloc(512 << 10));
let written = 0;
let code: unknown;
while (code === undefined && written < 1000) {
  const put = [recordOf(written + 1, `k${written}`, 8000)];
  try {
    store.write({ put, remove: [], streams: [['x/0', written + 1]] });
    written += 1;
  } catch (error) {
    code = (error as { code?: unknown }).code ?? String(error);
  }
}
const full = store.load();
rmSync(ballast);
store.write({ put: [recordOf(written + 1, 'after', 8000)], remove: [], streams: [['x/0', written + 1]] });
const after = store.load();
store.close();
const again = new StateStore(path.join(directory, 'state.db'), nodeCrypto);
const reopened = again.load();
again.close();
const last = openSync(ballast, 'w');
try {
  for (;;) writeSync(last, Buffer.alloc(4096));
} catch {
  // Not a page is left.
}
const wholly = new StateStore(path.join(directory, 'state.db'), nodeCrypto);
const started = wholly.load();
wholly.close();
const counts = [full, after, reopened, started].map(({ records, streams }) => ({
  records: records.length,
  high: streams[0]?.[1],
}));
process.stdout.write(`${JSON.stringify({ code, written, counts })}\n`);
