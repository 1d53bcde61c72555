/** What crash.test.ts does to a data directory that is to forget its cluster. It marks when it was told that it has. */
import { openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { DataDirectory } from '../../../daemon/store/data-directory.ts';

const marks = openSync(process.env['SHOAL_DISK_MARKS']!, 'a', 0o600);
const directory = new DataDirectory(path.join(process.env['SHOAL_DISK_ROOT']!, 'data'), nodeCrypto);
const values = [['genesis', 'of a change that failed']] as const;
directory.store.write({ put: [], remove: [], streams: [], values });
directory.store.clear();
writeSync(marks, 'cleared');
directory[Symbol.dispose]();
