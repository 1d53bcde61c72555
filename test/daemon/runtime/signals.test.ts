import t from 'tap';
import { signalExitCode, signalNumber } from '../../../daemon/runtime/signals.ts';

t.test('signals have their numbers', async (t) => {
  const table = { SIGTERM: 15, TERM: 15, sigkill: 9, '3': 3, 'SIGRTMIN+3': 37, RTMAX: 64, 'SIGRTMAX-1': 63 };
  for (const [name, number] of Object.entries(table)) t.equal(signalNumber(name), number, name);
  t.equal(signalExitCode('SIGTERM'), 143);
});

t.test('other names are refused', async (t) => {
  for (const name of ['', 'SIG', '0', '65', 'SIGNOTHING', 'RTMIN+31', 'RTMIN-1'])
    t.throws(() => signalNumber(name), { code: 'E_BAD_INPUT' }, name);
});
