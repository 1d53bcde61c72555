/** A disk that is full: the write fails as a whole, all before it stays, and it goes on when there is space again. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import t from 'tap';
import { temporaryDirectory } from '../api/api-fixture.ts';

const SCRIPT = path.join(import.meta.dirname, 'full-disk-process.ts');
const REPLACING = path.join(import.meta.dirname, 'replacing-process.ts');

/** In a mount namespace of its own, which needs root or user namespaces: nothing is left to unmount. */
function onSmallDisk(directory: string, command: readonly string[], size = '1m') {
  const mount = `mount -t tmpfs -o size=${size},mode=0700 shoal-test "$0" && exec "$@"`;
  const arguments_ = ['--user', '--map-root-user', '--mount', 'sh', '-c', mount, directory, ...command];
  return spawnSync('unshare', arguments_, { encoding: 'utf8', timeout: 60_000 });
}

const directory = await temporaryDirectory(t);
const skip =
  onSmallDisk(directory, ['true']).status !== 0 &&
  'no mount namespace can be made here (needs user namespaces)';

t.test(
  'a full disk is told, keeps what was acknowledged, and is written again when it has space',
  { skip },
  async (t) => {
    const { status, stdout, stderr } = onSmallDisk(directory, [process.execPath, SCRIPT, directory]);
    t.equal(status, 0, stderr);
    const { code, written, counts } = JSON.parse(stdout) as {
      code: string;
      written: number;
      counts: unknown[];
    };
    t.equal(code, 'E_DISK_FULL');
    t.ok(written > 0);
    const [full, after, reopened, started] = counts;
    t.same(full, { records: written, high: written }, 'nothing of the failed write is kept');
    t.same(after, { records: written + 1, high: written + 1 });
    t.same(reopened, after);
    t.same(started, after, 'a disk without a page left keeps no daemon from its start');
  },
);

t.test(
  'a database whose replacement does not fit the disk stays as it is, and is replaced later',
  async (t) => {
    const directory = await temporaryDirectory(t);
    if (onSmallDisk(directory, ['true']).status !== 0) {
      t.comment('skipped: no mount namespace can be made here (needs user namespaces)');
      return;
    }
    const { status, stdout, stderr } = onSmallDisk(directory, [process.execPath, REPLACING, directory], '8m');
    t.equal(status, 0, stderr);
    const trials = JSON.parse(stdout) as {
      name: string;
      code: string;
      isIntact: boolean;
      kept: number;
      expected: number;
    }[];
    for (const { name, code, isIntact, kept, expected } of trials) {
      t.ok(['E_DISK_FULL', 'replaced'].includes(code), `${name}: ${code}`);
      if (code !== 'replaced') t.ok(isIntact, `${name}: nothing was changed`);
      t.equal(kept, expected, `${name}: all is there in the end`);
    }
    for (const code of ['E_DISK_FULL', 'replaced'])
      t.ok(
        trials.filter((trial) => trial.code === code).length >= 3,
        `each way ends in ${code} at some size`,
      );
  },
);
