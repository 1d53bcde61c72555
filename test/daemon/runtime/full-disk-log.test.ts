/** The logs of containers on a disk that is full: they get shorter, and nothing else happens. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { keepOlderLog } from '../../../daemon/runtime/k8s-log.ts';
import { PlainLog } from '../../../daemon/runtime/plain-log.ts';
import { collect } from '../../conformance/runtime.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';

const DISK_BYTES = 256 * 1024;
/** Two streams of two parts each. */
const PART_BYTES = 64 * 1024;

/** A small disk of its own, or the reason why there can be none. */
async function smallDisk(t: Test): Promise<string | null> {
  const directory = await temporaryDirectory(t);
  const argv = ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'shoal-test', directory];
  const mounted = spawnSync('mount', argv);
  if (mounted.status !== 0) return null;
  t.teardown(() => spawnSync('umount', ['-l', directory]));
  return directory;
}

/** Takes all the room that is left. */
function fill(directory: string): void {
  for (;;)
    try {
      writeFileSync(path.join(directory, 'filler'), Buffer.alloc(4096), { flag: 'a' });
    } catch {
      return;
    }
}

async function lastLine(log: PlainLog): Promise<string | undefined> {
  return (await collect(log.read({ follow: false, ended: () => true }))).at(-1)?.text;
}

t.test('a log is cut on a full disk, and its newest part kept where that fits', async (t) => {
  const directory = await smallDisk(t);
  if (directory === null) return t.comment('no mounts here');
  const log = new PlainLog(directory, PART_BYTES * 4);
  for (const last of ['first', 'second']) {
    const lines = 'x\n'.repeat(PART_BYTES / 2);
    writeFileSync(path.join(directory, 'stdout'), `${lines}${last}\n`);
    fill(directory);
    t.equal(statSync(path.join(directory, 'stdout')).size, PART_BYTES + last.length + 1);
    log.cut();
    t.equal(statSync(path.join(directory, 'stdout')).size, 0, 'the room is free again');
    t.equal(statSync(path.join(directory, 'stdout.1')).size, PART_BYTES);
    t.notOk(existsSync(path.join(directory, 'stdout.1.tmp')));
    t.equal(await lastLine(log), last);
    rmSync(path.join(directory, 'filler'));
  }
});

t.test('a log whose newest part can be kept nowhere is cut all the same', async (t) => {
  const directory = await temporaryDirectory(t);
  const log = new PlainLog(directory, PART_BYTES * 4);
  writeFileSync(path.join(directory, 'stdout'), `${'x\n'.repeat(PART_BYTES)}`);
  writeFileSync(path.join(directory, 'stderr'), `${'x\n'.repeat(PART_BYTES)}last\n`);
  // No write gets through here.
  mkdirSync(path.join(directory, 'stdout.1'));
  t.doesNotThrow(() => log.cut());
  t.equal(statSync(path.join(directory, 'stdout')).size, 0);
  t.equal(statSync(path.join(directory, 'stderr')).size, 0, 'nor does it keep the other from being cut');
  rmdirSync(path.join(directory, 'stdout.1'));
  t.equal(await lastLine(log), 'last');
});

t.test('a generation of a log that cannot be kept is lost, and the log goes on', async (t) => {
  const directory = await temporaryDirectory(t);
  writeFileSync(path.join(directory, 'log'), 'new');
  writeFileSync(path.join(directory, 'log.held'), 'old');
  mkdirSync(path.join(directory, 'log.1'));
  t.doesNotThrow(() => keepOlderLog(directory));
  t.equal(readFileSync(path.join(directory, 'log'), 'utf8'), 'new');
});
