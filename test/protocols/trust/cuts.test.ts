/** That the short way to what revocations leave gives what a look at each of them gives. */
import t from 'tap';
import { isAfter } from '../../../protocols/trust/cut.ts';
import { Cuts, STAMP_LATE_MS } from '../../../protocols/trust/cuts.ts';
import fc from '../../laws.ts';
import { NOW, revoke } from './facts.ts';

const DIGESTS = ['a', 'b', 'c', 'd'];
const place = fc.record({ epoch: fc.nat(2), seq: fc.integer({ min: 1, max: 4 }) });
const said = fc.record({
  epoch: fc.nat(2),
  last: fc.nat(4),
  descendants: fc.boolean(),
  keeps: fc.array(fc.constantFrom(...DIGESTS), { maxLength: 3 }),
  late_ms: fc.nat(2 * STAMP_LATE_MS),
});

t.test('it is what each revocation leaves', async (t) => {
  fc.assert(
    fc.property(fc.array(said, { maxLength: 6 }), place, fc.nat(3 * STAMP_LATE_MS), (all, at, late_ms) => {
      const revocations = all.map(({ epoch, last, descendants, keeps, late_ms }, index) => {
        const record = revoke('op', 'ann', { seq: index + 1, at_ms: NOW + late_ms });
        return { record, body: { subject: 'ann', reason: '', epoch, last, descendants, keeps } };
      });
      const cuts = new Cuts(revocations);
      const written = { ...at, hlc: { ms: NOW + late_ms, n: 0 } };
      const leavesOut = revocations.some(
        ({ record, body }) => isAfter(at, body) || written.hlc.ms > record.hlc.ms + STAMP_LATE_MS,
      );
      if (cuts.leaveOut(written) !== leavesOut) return false;
      if (!revocations.every(({ record }) => cuts.has(record.digest)) || cuts.has('e')) return false;
      return [...DIGESTS, 'e'].every((digest) => {
        const isVoid = revocations.some(
          ({ body }) => !body.keeps.includes(digest) && (body.descendants || isAfter(at, body)),
        );
        const isSilent = revocations.some(
          ({ record, body }) =>
            !body.keeps.includes(digest) &&
            (body.descendants || isAfter(at, body) || written.hlc.ms > record.hlc.ms + STAMP_LATE_MS),
        );
        return cuts.void({ ...at, digest }) === isVoid && cuts.silence({ ...written, digest }) === isSilent;
      });
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});
