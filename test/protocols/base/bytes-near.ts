/** Bytes for laws about readers: encoded ones, and such that are damaged in a place or two, or cut, or made longer. */
import fc from '../../laws.ts';

/** Plain data as records carry it. */
export const plain: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false, -0, 2 ** 32, 2 ** 53 - 1, -(2 ** 31)),
    fc.integer(),
    fc.double(),
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(fc.string(), tie('value'), { maxKeys: 20 }),
  ),
})).value;

export function bytesNear(encoded: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const change = fc.record({ at: fc.nat(), byte: fc.nat(255), how: fc.constantFrom('set', 'cut', 'add') });
  return fc.tuple(encoded, fc.array(change, { maxLength: 2 })).map(([bytes, changes]) => {
    const list = [...bytes];
    for (const { at, byte, how } of changes) {
      const place = list.length === 0 ? 0 : at % list.length;
      list.splice(place, how === 'add' ? 0 : 1, ...(how === 'cut' ? [] : [byte]));
    }
    return Uint8Array.from(list);
  });
}
