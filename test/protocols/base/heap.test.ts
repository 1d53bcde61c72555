/** What comes out of a heap first is what a sorted list would say. */
import t from 'tap';
import { Heap } from '../../../protocols/base/heap.ts';
import fc from '../../laws.ts';

t.test('the first is the least of those that are there', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(20), { nil: null })), (steps) => {
      const heap = new Heap<number>((a, b) => a < b);
      const list: number[] = [];
      return steps.every((step) => {
        // Null takes one out.
        if (step === null) return heap.take() === list.shift();
        heap.add(step);
        list.push(step);
        list.sort((a, b) => a - b);
        return heap.first === list[0];
      });
    }),
  );
  t.equal(new Heap<number>(() => false).take(), undefined);
});
