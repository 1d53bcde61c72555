/** Reads record bodies by their schemas. A body that does not fit its kind is kept in the ledger and seen by nobody. */
import { Compile, type Validator } from 'typebox/compile';
import { type BodyOf, RECORD_SCHEMAS, type RecordKind } from '../base/records.ts';
import type { LedgerRecord } from '../ledger/record.ts';

const validators = new Map<RecordKind, Validator>();
/** Records are immutable: each is checked once. */
const checked = new WeakMap<LedgerRecord, boolean>();

export function bodyOf<K extends RecordKind>(kind: K, record: LedgerRecord): BodyOf<K> | undefined {
  if (record.kind !== kind || record.body === null) return undefined;
  let fits = checked.get(record);
  if (fits === undefined) {
    let validator = validators.get(kind);
    if (validator === undefined) {
      validator = Compile(RECORD_SCHEMAS[kind]) as Validator;
      validators.set(kind, validator);
    }
    fits = validator.Check(record.body);
    checked.set(record, fits);
  }
  return fits ? (record.body as BodyOf<K>) : undefined;
}
