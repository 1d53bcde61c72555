import { spawnSync } from 'node:child_process';
import path from 'node:path';
import t from 'tap';

const PROC = path.join(import.meta.dirname, '../../../daemon/runtime/proc.ts');

t.test('no process counts as dead because descriptors have run out', async (t) => {
  const script = `
    import { openSync } from 'node:fs';
    import { isAlive, readProcess } from '${PROC}';
    const parent = process.ppid;
    const { startTime } = readProcess(parent);
    try { for (;;) openSync('/dev/null'); } catch (error) { console.log(error.code); }
    console.log(isAlive(parent, startTime), isAlive(2 ** 30, null));
  `;
  // What follows keeps the shell from becoming the program, whose parent it is.
  const command = 'ulimit -n 100; "$0" --input-type=module -e "$1"; exit $?';
  const { stdout, stderr } = spawnSync('sh', ['-c', command, process.execPath, script], { encoding: 'utf8' });
  t.equal(stdout, 'EMFILE\ntrue false\n', stderr);
});
