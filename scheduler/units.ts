/**
 * Amounts as people write them: cores and bytes. For the CLI, Compose files and anything else that takes text.
 * Not here: durations, and the limits of a spec (its schema has those).
 */
import { ShoalError } from '../protocols/base/errors.ts';

const CPU = /^(\d{1,7}(?:\.\d{1,3})?)(m?)$/;
const MEMORY = /^(\d{1,16}(?:\.\d{1,3})?)\s*([kmgt]i?)?b?$/i;

const BYTES: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/**
 * @param text cores ("0.5", "2") or thousandths of a core ("500m"); a number counts cores.
 * @returns thousandths of a core, at least 1.
 * @throws ShoalError E_BAD_SPEC.
 */
export function parseCpu(text: string | number): number {
  const match = CPU.exec(String(text).trim());
  const millis = match ? Math.round(Number(match[1]) * (match[2] === 'm' ? 1 : 1000)) : 0;
  if (millis >= 1) return millis;
  throw bad('cpu', text, 'cores such as 0.5 or 2, or thousandths such as 500m');
}

/**
 * @param text bytes, with an optional unit: k, M, G, T are powers of 1000 and Ki, Mi, Gi, Ti of 1024; case and a
 * trailing B do not matter.
 * @returns whole bytes, at least 1.
 * @throws ShoalError E_BAD_SPEC.
 */
export function parseMemory(text: string | number): number {
  const match = MEMORY.exec(String(text).trim());
  const unit = BYTES[(match?.[2] ?? '').toLowerCase()];
  const bytes = match && unit ? Math.floor(Number(match[1]) * unit) : 0;
  if (bytes >= 1 && Number.isSafeInteger(bytes)) return bytes;
  throw bad('memory', text, 'bytes, or a number with a unit such as 64Mi or 1G');
}

function bad(field: string, text: string | number, expected: string): ShoalError {
  return new ShoalError('E_BAD_SPEC', `${field}: "${String(text).slice(0, 64)}" is not ${expected}`, {
    detail: { field, expected },
  });
}
