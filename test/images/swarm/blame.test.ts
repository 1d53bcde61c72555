import t from 'tap';
import { Blame, FAILED_PIECES_MAX } from '../../../images/swarm/blame.ts';

const make = () => new Blame<string>((bytes) => Buffer.from(bytes).toString('hex'));
const good = Buffer.from('good');
const bad = Buffer.from('bad!');

t.test('the only source of a piece that failed has lied', async (t) => {
  const blame = make();
  blame.received(1, 0, bad, 'a');
  blame.received(1, 4, good, 'a');
  t.same(blame.failed(1), ['a']);
  t.notOk(blame.undecided);
});

t.test('of several sources the liar is known once the piece has come right', async (t) => {
  const blame = make();
  blame.received(1, 0, good, 'honest');
  blame.received(1, 4, bad, 'liar');
  t.same(blame.failed(1), []);
  t.ok(blame.undecided);
  blame.received(1, 0, good, 'third');
  blame.received(1, 4, good, 'third');
  t.same(blame.verified(1), ['liar']);
  t.notOk(blame.undecided);
});

t.test('failed pieces that are remembered have a cap', async (t) => {
  const blame = make();
  for (let piece = 0; piece <= FAILED_PIECES_MAX; piece++) {
    blame.received(piece, 0, good, 'a');
    blame.received(piece, 4, bad, 'b');
    t.same(blame.failed(piece), []);
  }
  blame.received(0, 4, good, 'a');
  t.same(blame.verified(0), [], 'the oldest was forgotten');
});
