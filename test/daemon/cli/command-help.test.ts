/** What each command says of itself. Each call is a process, and they come one after another. */
import t from 'tap';
import { runCli } from './run-cli.ts';

t.setTimeout(120_000);

t.test('every command has help with an example', async (t) => {
  const all = [
    ['daemon'],
    ['init'],
    ['token', 'create'],
    ['join'],
    ['run'],
    ['ps'],
    ['logs'],
    ['exec'],
    ['scale'],
    ['stop'],
    ['rm'],
    ['image', 'import'],
    ['image', 'build'],
    ['image', 'ls'],
    ['token', 'ls'],
    ['token', 'revoke'],
    ['node', 'ls'],
    ['node', 'revoke'],
    ['node', 'rm'],
    ['grant', 'ls'],
    ['operator', 'create'],
    ['operator', 'ls'],
    ['operator', 'add'],
    ['operator', 'revoke'],
    ['cluster', 'info'],
    ['cluster', 'history'],
    ['status'],
    ['version'],
  ];
  for (const command of all) {
    const name = command.join(' ');
    const { code, stdout, stderr } = await runCli('/nonexistent', [...command, '--help']);
    t.equal(code, 0, name);
    t.equal(stderr, '', name);
    t.match(stdout, new RegExp(`Usage: shoal ${name}`));
    t.match(stdout, /Examples:\n {2}\S/);
  }
});
