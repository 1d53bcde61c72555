/** Options of the daemon that cannot be, through the real command: one line, exit code 2, and nothing is made. */
import { access } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { RealDaemon, refusedWith, TIMEOUT_MS } from './real-daemon.ts';

t.setTimeout(TIMEOUT_MS);

t.test('options that cannot be are refused before anything is made', async (t) => {
  const directory = await temporaryDirectory(t);
  const wrong: readonly (readonly [string, string])[] = [
    ['--listen', 'somewhere'],
    ['--listen', '127.0.0.1:70000'],
    ['--door', 'localhost:1'],
    ['--dns', '127.0.0.1:x'],
    ['--name', 'Not_A_Name'],
    ['--driver', 'docker'],
    ['--host', 'here'],
    ['--label', 'nothing'],
    ['--label', 'name=x'],
    ['--capacity-cpu', 'many'],
    ['--capacity-memory', '1Ki'],
    ['--socket', `/${'x'.repeat(200)}`],
    ['--log-level', 'loud'],
    ['--no-such-option', 'x'],
  ];
  for (let at = 0; at < wrong.length; at += 3) {
    const some = wrong.slice(at, at + 3);
    const results = await Promise.all(
      some.map((args, n) => RealDaemon.fail(t, { directory, name: `d${at + n}`, args })),
    );
    for (const [n, result] of results.entries()) {
      refusedWith(t, result, 'E_USAGE', some[n]!.join(' '));
      await t.rejects(access(path.join(directory, `d${at + n}`)), { code: 'ENOENT' });
    }
  }
});
