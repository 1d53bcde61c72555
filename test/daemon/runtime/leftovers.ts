/** What containers may leave behind on a host, looked up from outside of the drivers. */
import { readdirSync, readFileSync } from 'node:fs';
import { isAlive } from '../../../daemon/runtime/proc.ts';

/** Living processes whose command line or environment names the text; this one and its parents aside. */
export function processesThatName(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && isAlive(Number(name), null))
    .map((pid) => ({ pid, command: read(`/proc/${pid}/cmdline`) + read(`/proc/${pid}/environ`) }))
    .filter(({ command }) => command.includes(text))
    .map(({ pid, command }) => `process ${pid}: ${command.replaceAll('\0', ' ').slice(0, 200)}`);
}

export function mountsUnder(directory: string): string[] {
  return read('/proc/self/mountinfo')
    .split('\n')
    .filter((line) => line.includes(directory))
    .map((line) => `mount ${line}`);
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
