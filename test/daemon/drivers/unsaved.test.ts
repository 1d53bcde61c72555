/** What waits for the disk has an end. How it is folded together: ledger-driver.test.ts. */
import t from 'tap';
import { Unsaved } from '../../../daemon/drivers/unsaved.ts';
import { HISTORY_ENTRIES_MAX, type HistoryEntry } from '../../../daemon/history/history-entry.ts';

t.test('of the history as many lines wait as the disk would keep, the latest', async (t) => {
  const unsaved = new Unsaved();
  const lines = Array.from(
    { length: HISTORY_ENTRIES_MAX + 2 },
    (_, at) => ({ digest: `${at}` }) as HistoryEntry,
  );
  unsaved.addHistory(lines.slice(0, HISTORY_ENTRIES_MAX));
  unsaved.addHistory(lines.slice(HISTORY_ENTRIES_MAX));
  t.strictSame(unsaved.batch().history, lines.slice(2));
});
