/**
 * Checks requests against their TypeBox schemas, and says which field is wrong.
 * Query strings are text: numbers and booleans in them are converted first. Bodies are taken as they are.
 */
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { ShoalError } from '../../protocols/base/errors.ts';

/** Errors that are looked at for the best message. */
const ERRORS_MAX = 8;

type Check = (data: unknown) => { value: unknown } | { error: ShoalError };

/** @param part `body`, `querystring` or `params`. */
export function checker(schema: TSchema, part: string): Check {
  const validator = Compile(schema);
  return (data) => {
    const value = part === 'body' ? data : validator.Convert(data ?? {});
    if (validator.Check(value)) return { value };
    const errors = validator.Errors(value).slice(0, ERRORS_MAX);
    const deepest = errors.sort((a, b) => b.instancePath.length - a.instancePath.length)[0];
    const missing = deepest?.keyword === 'required' ? deepest.params.requiredProperties : undefined;
    // A schema that allows no other properties has the schema `false` for them.
    const unknown = deepest?.keyword === 'boolean';
    const base = (deepest?.instancePath ?? '').slice(1).replaceAll('/', '.');
    const field = [base, missing?.[0]].filter(Boolean).join('.').slice(0, 128);
    const why = missing
      ? 'is missing'
      : unknown
        ? 'is not known here'
        : deepest?.keyword === 'enum'
          ? `must be one of ${deepest.params.allowedValues.join(', ')}`
          : (deepest?.message ?? 'is not as it must be');
    const where = part === 'body' ? 'the request' : part === 'params' ? 'the path' : 'the query';
    return {
      error: new ShoalError('E_BAD_INPUT', field ? `${where}: "${field}" ${why}` : `${where} ${why}`, {
        detail: { field },
      }),
    };
  };
}
