/**
 * A disk that refuses writes or syncs: each write is refused by name, as a whole, and the next one after it is kept. One
 * that does not give back some place: all that is elsewhere is kept.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { memoryDirectory } from './memory-directory.ts';
import { preloaded } from './preloaded.ts';

const directory = await memoryDirectory(t);
const built = preloaded('disk-fault', directory);
const skip = 'missing' in built ? built.missing : false;
const CHILD = path.join(import.meta.dirname, 'refusing-disk-process.ts');
const RESTORING = path.join(import.meta.dirname, 'restoring-process.ts');
const UNREADABLE = path.join(import.meta.dirname, 'unreadable-process.ts');

function onFaultyDisk(script: string, name: string) {
  const root = path.join(directory, name);
  mkdirSync(root);
  return spawnSync(process.execPath, [script], {
    encoding: 'utf8',
    timeout: 120_000,
    env: {
      LD_PRELOAD: 'library' in built ? built.library : '',
      SHOAL_DISK_ROOT: root,
      SHOAL_DISK_FAULT: path.join(directory, `${name}-fault`),
    },
  });
}

t.setTimeout(300_000);

t.test('EIO, ENOSPC, EROFS and EDQUOT of writes and of syncs', { skip }, async (t) => {
  const { status, stdout, stderr } = onFaultyDisk(CHILD, 'refusing');
  t.equal(status, 0, stderr);
  const { outcomes, acknowledged, held, again, damage } = JSON.parse(stdout) as {
    outcomes: Record<string, string>;
    acknowledged: string[];
    held: string[];
    again: string[];
    damage: unknown;
  };
  const expected = {
    'EIO w': 'E_DISK_FAILED',
    'EIO s': 'E_DISK_FAILED',
    'EIO ws': 'E_DISK_FAILED',
    'ENOSPC w': 'E_DISK_FULL',
    'ENOSPC s': 'E_DISK_FAILED',
    'ENOSPC ws': 'E_DISK_FULL',
    'EROFS w': 'E_DISK_FAILED',
    'EROFS s': 'E_DISK_FAILED',
    'EROFS ws': 'E_DISK_FAILED',
    'EDQUOT w': 'E_DISK_FAILED',
    'EDQUOT s': 'E_DISK_FAILED',
    'EDQUOT ws': 'E_DISK_FAILED',
  };
  const refused = Object.fromEntries(Object.entries(outcomes).filter(([name]) => !name.endsWith('gone')));
  t.same(refused, expected);
  for (const name of Object.keys(expected)) t.equal(outcomes[`${name} gone`], 'written', name);
  t.same(new Set(held), new Set(acknowledged), 'a refused write leaves nothing');
  t.same(new Set(again), new Set(acknowledged));
  t.equal(damage, null);
});

t.test(
  'what is to be put back is known until the disk takes it, whatever it refuses before',
  { skip },
  async (t) => {
    const { status, stdout, stderr } = onFaultyDisk(RESTORING, 'restoring');
    t.equal(status, 0, stderr);
    t.same(JSON.parse(stdout), {
      'at the start': '8',
      'after a write that was refused': '8',
      'at the next start': '8',
    });
  },
);

/** What a start made of a place that could not be read. */
interface Trial {
  readonly from: number;
  readonly kept: number;
  readonly isTold: boolean;
  readonly error?: string;
}

t.test(
  'a place that cannot be read costs what is there, and what is searched or told by it is kept',
  { skip },
  async (t) => {
    const { status, stdout, stderr } = onFaultyDisk(UNREADABLE, 'unreadable');
    t.equal(status, 0, stderr);
    const { first, all, pages, log, broken } = JSON.parse(stdout) as {
      /** Records in the file when the log began, and with those that the log has. */
      first: number;
      all: number;
      pages: (Trial & { isOverflow: boolean })[];
      log: Trial[];
      /** Second starts after one that was broken off, and what became of that. */
      broken: Record<'cut' | 'large' | 'unnoted', Trial & { first?: string; isLogWhole?: boolean }>;
    };
    t.ok(pages.filter(({ isOverflow }) => isOverflow).length > 20);
    for (const { from, kept, isTold, isOverflow, error } of pages) {
      t.equal(error, undefined);
      t.ok(isTold, `at ${from}: it is told`);
      // One row goes on there; other pages hold several rows, or lead to others.
      if (isOverflow) t.equal(kept, all - 1, `at ${from}: all but one row is kept`);
    }
    const [begin, middle, end] = log;
    for (const { error, isTold, from } of log) {
      t.equal(error, undefined);
      t.ok(isTold, `in the log at ${from}: it is told`);
    }
    t.equal(begin!.kept, first, 'without its log the file is as it was before');
    t.ok(middle!.kept > first && middle!.kept < all, `up to the middle of the log: ${middle!.kept}`);
    t.equal(end!.kept, all - 1, 'of a log all but the last write');
    for (const [name, { first, error, isTold }] of Object.entries(broken)) {
      t.ok(first, `${name}: the first start is refused`);
      t.equal(error, undefined);
      t.ok(isTold, `${name}: the next one tells it`);
    }
    t.match(broken.cut.first, /disk of the data directory is full/);
    t.equal(broken.cut.kept, middle!.kept);
    t.equal(broken.large.kept, first);
    t.ok(broken.unnoted.isLogWhole, 'what cannot be noted is not cut');
    t.equal(broken.unnoted.kept, middle!.kept);
  },
);
