/** Where records are: the same on every node, but for what no other node compares. */
import t from 'tap';
import { mix32 } from '../../../protocols/base/hash.ts';
import { numberHash } from '../../../protocols/ledger/place.ts';

t.test('numbers that were chosen for one place are spread by a secret', async (t) => {
  // What the hash without a secret adds to a number is known to all.
  const known = (epoch: number) => mix32(mix32(epoch));
  const chosen = Array.from({ length: 1000 }, (_, epoch) => [epoch, known(epoch)] as const);
  t.equal(new Set(chosen.map(([epoch, seq]) => numberHash(epoch, seq, 0))).size, 1);
  for (const secret of [1, 0x12345678, 0xfedcba98]) {
    const places = chosen.map(([epoch, seq]) => numberHash(epoch, seq, secret));
    t.ok(new Set(places).size > 990, `${secret}`);
    t.equal(new Set(places.map((place) => place >>> 28)).size, 16);
  }
});

t.test('numbers that follow one another are beside one another', async (t) => {
  for (const secret of [0, 0x12345678]) {
    const places = Array.from({ length: 16 }, (_, at) => numberHash(7, 4096 + at, secret) >>> 4);
    t.equal(new Set(places).size, 1);
  }
});
