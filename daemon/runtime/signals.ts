/** Signal names to numbers, as image configs and users write them. Sends nothing. Source: signal(7), OCI image spec. */
import { constants } from 'node:os';
import { ShoalError } from '../../protocols/base/errors.ts';

const REALTIME_MIN = 34;
const REALTIME_MAX = 64;

/** `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` or `RTMAX-1` as a number. @throws E_BAD_INPUT */
export function signalNumber(name: string): number {
  const upper = name.trim().toUpperCase();
  if (/^\d{1,2}$/.test(upper)) {
    const number = Number(upper);
    if (number >= 1 && number <= REALTIME_MAX) return number;
  }
  const short = upper.startsWith('SIG') ? upper.slice(3) : upper;
  const realtime = /^RT(MIN(?:\+(\d{1,2}))?|MAX(?:-(\d{1,2}))?)$/.exec(short);
  if (realtime) {
    const number = short.startsWith('RTMIN')
      ? REALTIME_MIN + Number(realtime[2] ?? 0)
      : REALTIME_MAX - Number(realtime[3] ?? 0);
    if (number >= REALTIME_MIN && number <= REALTIME_MAX) return number;
  }
  const known = (constants.signals as Readonly<Record<string, number | undefined>>)[`SIG${short}`];
  if (known === undefined) throw new ShoalError('E_BAD_INPUT', `There is no signal "${name}".`);
  return known;
}

/** The exit code that shells and container runtimes give for an end by signal. */
export function signalExitCode(name: string): number {
  return 128 + signalNumber(name);
}
