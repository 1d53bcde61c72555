/** Asking a person: only a yes goes on; and input that never ends, which a person can. */
import { PassThrough } from 'node:stream';
import t from 'tap';
import { confirm } from '../../../daemon/cli/confirm.ts';
import { readStdin, type Terminal } from '../../../daemon/cli/terminal.ts';

function terminal(answer: string | undefined, signal = new AbortController().signal) {
  const stdin = Object.assign(new PassThrough(), { isTTY: answer !== undefined });
  if (answer === undefined) stdin.end();
  else stdin.write(answer);
  const stderr = new PassThrough();
  return {
    terminal: { stdin, stderr, signal } as unknown as Terminal,
    shown: () => String(stderr.read() ?? ''),
  };
}

t.test('a person who says yes is taken at that, and anything else is a no', async (t) => {
  for (const answer of ['y\n', 'Y\n', 'yes\n', ' YES \n']) {
    const { terminal: on, shown } = terminal(answer);
    await confirm(on, 'all of it goes', false);
    t.match(shown(), /^all of it goes\nGo on\? \[y\/N\] /);
  }
  for (const answer of ['\n', 'n\n', 'yess\n', 'no\n'])
    await t.rejects(confirm(terminal(answer).terminal, 'all', false), {
      code: 'E_CANCELLED',
      message: /nothing was changed/,
    });
});

t.test('where nobody can answer, only what was said before counts', async (t) => {
  await t.rejects(confirm(terminal(undefined).terminal, 'all', false), { code: 'E_UNCONFIRMED' });
  const { terminal: on, shown } = terminal(undefined);
  await confirm(on, 'all', true);
  t.equal(shown(), 'all\n', 'and it is told all the same');
});

t.test('who interrupts says no, and so does one who goes away', async (t) => {
  const stop = new AbortController();
  const asked = confirm(terminal('', stop.signal).terminal, 'all', false);
  stop.abort();
  await t.rejects(asked, { code: 'E_CANCELLED' });
  const { terminal: gone } = terminal('');
  const unanswered = confirm(gone, 'all', false);
  (gone.stdin as unknown as PassThrough).end();
  await t.rejects(unanswered, { code: 'E_CANCELLED' });
});

t.test('input is read whole, up to a limit, and who interrupts waits for no end of it', async (t) => {
  const piped = (text: string) => {
    const { terminal: on } = terminal(undefined);
    const stdin = Object.assign(new PassThrough(), { isTTY: false });
    stdin.write(text);
    return { ...on, stdin: stdin as unknown as Terminal['stdin'], end: () => stdin.end() };
  };
  const whole = piped('all of it');
  whole.end();
  t.equal((await readStdin(whole, 100)).toString(), 'all of it');
  t.ok((await readStdin(piped('x'.repeat(200)), 100)).byteLength > 100, 'it stops there');
  const stop = new AbortController();
  const reading = readStdin({ ...piped('some'), signal: stop.signal }, 100);
  stop.abort();
  await t.rejects(reading, { code: 'E_CANCELLED' });
});
