/** A cut lies behind the last place of a key, in whatever order its records are told. */
import t from 'tap';
import { cutAfter, cutBefore, isAfter, NOTHING } from '../../../protocols/trust/cut.ts';
import fc from '../../laws.ts';

const places = fc.array(fc.record({ epoch: fc.nat({ max: 3 }), seq: fc.integer({ min: 1, max: 9 }) }));

t.test('behind a cut lies none of the places that it was made from, and it is one of them', (t) => {
  fc.assert(
    fc.property(places, (written) => {
      const cut = cutAfter(written);
      const isPlace = written.some(({ epoch, seq }) => epoch === cut.epoch && seq === cut.last);
      return !written.some((place) => isAfter(place, cut)) && isPlace === written.length > 0;
    }),
  );
  t.end();
});

t.test('where nothing was written, nothing counts', (t) => {
  t.same(cutAfter([]), NOTHING);
  t.end();
});

t.test('what is before the first later place counts, and nothing behind it, whatever its stamp', (t) => {
  const stamped = fc.array(
    fc.record({ epoch: fc.nat({ max: 3 }), seq: fc.integer({ min: 1, max: 9 }), ms: fc.nat({ max: 9 }) }),
  );
  fc.assert(
    fc.property(stamped, fc.nat({ max: 9 }), (written, since_ms) => {
      const cut = cutBefore(written, ({ ms }) => ms > since_ms);
      return written.every((place) => {
        const behind = { epoch: place.epoch, last: place.seq };
        const isBeforeAllLater = written.every((each) => each.ms <= since_ms || isAfter(each, behind));
        return isAfter(place, cut) !== isBeforeAllLater;
      });
    }),
  );
  t.end();
});
