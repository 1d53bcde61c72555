import t from 'tap';
import type { NodeId } from '../../../protocols/base/ids.ts';
import { Repairs } from '../../../protocols/ledger/repairs.ts';

const PEER = 'a' as NodeId;

t.test(
  'what is due falls on a whole millisecond: a timer of a part of one would come too soon, for ever',
  async (t) => {
    const repairs = new Repairs({ repairSilence_ms: 1500, repair_ms_max: 30_000 });
    repairs.begin(PEER, 0, false);
    repairs.end(repairs.of(PEER)!, 29_000);
    // It has a second left, and what three milliseconds have given back.
    repairs.begin(PEER, 29_003, false);
    const due_ms = repairs.due_ms(29_003)!;
    t.equal(due_ms, 30_004);
    t.notOk(repairs.isTaken(due_ms));
    t.equal(repairs.due_ms(due_ms), 29_003 + 1500);
  },
);
