/**
 * From anything a user sent to a whole, checked workload spec. Fills in what was left out, refuses what is
 * unknown, and says in one line which field is wrong and what it should be.
 * Not here: whether any node could run it (plan.ts), and human units (units.ts).
 */
import type { TSchema } from 'typebox';
import Value from 'typebox/value';
import { ShoalError } from '../protocols/base/errors.ts';
import {
  HealthSchema,
  ResourcesSchema,
  SPEC_DEFAULTS,
  type WorkloadSpec,
  WorkloadSpecSchema,
} from '../protocols/base/workload.ts';

/** What bears it is read under another name (base/codec.ts). */
const UNREADABLE_NAME = '__proto__';
/** Entries of env or constraints, and bytes of command and env together: a spec is one record of the ledger. */
export const SPEC_ENTRIES_MAX = 1024;
export const SPEC_TEXT_MAX = 128 * 1024;

/** The schema's own patterns for the keys of a record do not refuse other keys, so they are checked here. */
const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,255}$/;
const CONSTRAINT_NAME_MAX = 128;

type Fields = Readonly<Record<string, unknown>>;

/**
 * @param input a partial spec as parsed from JSON or built by a client; it is not changed.
 * @returns a new, complete spec.
 * @throws ShoalError E_BAD_SPEC; `detail.field` is the path of the field (`ports[0].port`).
 */
export function parseSpec(input: unknown): WorkloadSpec {
  if (!isFields(input)) throw bad('spec', 'must be an object');
  refuseUnknown('', input, WorkloadSpecSchema.properties);
  if (isFields(input.resources)) refuseUnknown('resources.', input.resources, ResourcesSchema.properties);
  if (isFields(input.health)) refuseUnknown('health.', input.health, HealthSchema.properties);
  if (Array.isArray(input.ports)) {
    const known = WorkloadSpecSchema.properties.ports.items.properties;
    for (const [at, port] of input.ports.slice(0, 64).entries()) {
      if (isFields(port)) refuseUnknown(`ports[${at}].`, port, known);
    }
  }
  const spec: unknown = {
    ...SPEC_DEFAULTS,
    ...given(input),
    resources: merged(SPEC_DEFAULTS.resources, input.resources),
    health: merged(SPEC_DEFAULTS.health, input.health),
  };
  checkSchema(spec);
  checkKeys(spec);
  checkText(spec);
  checkPorts(spec);
  checkHealth(spec);
  return structuredClone(spec);
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bad(field: string, problem: string): ShoalError {
  return new ShoalError('E_BAD_SPEC', `${field} ${problem}`, { detail: { field, expected: problem } });
}

function refuseUnknown(prefix: string, value: Fields, known: Readonly<Record<string, TSchema>>): void {
  for (const field of Object.keys(value)) {
    if (Object.hasOwn(known, field)) continue;
    throw bad(`${prefix}${field.slice(0, 64)}`, `is not a field; known: ${Object.keys(known).join(', ')}`);
  }
}

/** What was really given: a field that is undefined was not. */
function given(value: Fields): Fields {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined));
}

function merged(defaults: Fields, value: unknown): unknown {
  if (value === undefined) return defaults;
  return isFields(value) ? { ...defaults, ...given(value) } : value;
}

function checkSchema(spec: unknown): asserts spec is WorkloadSpec {
  if (Value.Check(WorkloadSpecSchema, spec)) return;
  const errors = Value.Errors(WorkloadSpecSchema, spec);
  const first = errors[0];
  if (!first) throw bad('spec', 'does not fit the schema');
  const allowed = errors
    .filter((error) => error.instancePath === first.instancePath && error.keyword === 'const')
    .map((error) => String((error.params as { allowedValue?: unknown }).allowedValue));
  if (first.keyword === 'required') {
    const [missing] = (first.params as { requiredProperties?: string[] }).requiredProperties ?? [];
    throw bad(fieldPath(first.instancePath, missing), 'is missing');
  }
  const problem = allowed.length > 0 ? `must be one of ${allowed.join(', ')}` : first.message;
  throw bad(fieldPath(first.instancePath), problem);
}

/** From a JSON pointer (RFC 6901) to the path as it is written in code. */
function fieldPath(pointer: string, last?: string): string {
  const parts = pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (last !== undefined) parts.push(last);
  const path = parts.map((part) => (/^\d+$/.test(part) ? `[${part}]` : `.${part}`)).join('');
  return path.replace(/^\./, '').slice(0, 256) || 'spec';
}

function checkKeys(spec: WorkloadSpec): void {
  for (const field of ['env', 'constraints'] as const) {
    if (Object.keys(spec[field]).length > SPEC_ENTRIES_MAX) {
      throw bad(field, `must have at most ${SPEC_ENTRIES_MAX} entries`);
    }
    if (Object.hasOwn(spec[field], UNREADABLE_NAME)) throw bad(field, `must name nothing ${UNREADABLE_NAME}`);
  }
  for (const name of Object.keys(spec.env)) {
    if (!ENV_NAME.test(name)) {
      throw bad(`env.${name.slice(0, 64)}`, 'must be named with letters, digits and _, no digit first');
    }
  }
  for (const name of Object.keys(spec.constraints)) {
    const fits = name.length >= 1 && name.length <= CONSTRAINT_NAME_MAX;
    if (!fits)
      throw bad(`constraints.${name.slice(0, 64)}`, `must have a name of 1 to ${CONSTRAINT_NAME_MAX}`);
    const value: unknown = spec.constraints[name];
    if (typeof value !== 'string' || value.length > 256) {
      throw bad(`constraints.${name}`, 'must be a text of at most 256 characters');
    }
  }
}

/** An argument or a variable ends at a NUL for execve(2), so that one inside would be cut off silently. */
function checkText(spec: WorkloadSpec): void {
  const texts: [string, string][] = [
    ...spec.command.map((text, at): [string, string] => [`command[${at}]`, text]),
    ...Object.entries(spec.env).map(([name, text]): [string, string] => [`env.${name}`, text]),
    ...(spec.health.command ?? []).map((text, at): [string, string] => [`health.command[${at}]`, text]),
    ['image', spec.image],
  ];
  let total = 0;
  for (const [field, text] of texts) {
    if (text.includes('\0')) throw bad(field, 'must not contain a NUL character');
    total += text.length;
  }
  if (total > SPEC_TEXT_MAX) throw bad('spec', `must have at most ${SPEC_TEXT_MAX} characters of text`);
}

function checkPorts(spec: WorkloadSpec): void {
  const seen = new Set<string>();
  for (const [at, { name }] of spec.ports.entries()) {
    if (seen.has(name)) throw bad(`ports[${at}].name`, `must be unique, and "${name}" is there already`);
    seen.add(name);
  }
}

function checkHealth({ health, ports }: WorkloadSpec): void {
  const probesPort = health.kind === 'tcp' || health.kind === 'http';
  if (probesPort && health.port === undefined && ports.length === 0) {
    throw bad('health.port', `must be given for ${health.kind}, as the spec has no ports`);
  }
  if (health.kind === 'exec' && health.command === undefined) {
    throw bad('health.command', 'must be given for exec');
  }
  if (health.kind !== 'exec' && health.command !== undefined) {
    throw bad('health.command', `must not be given for ${health.kind}`);
  }
  if (health.kind !== 'http' && health.path !== undefined) {
    throw bad('health.path', `must not be given for ${health.kind}`);
  }
  if (!probesPort && health.port !== undefined) {
    throw bad('health.port', `must not be given for ${health.kind}`);
  }
}
