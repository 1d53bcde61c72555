import t from 'tap';
import { systemClock } from '../../daemon/clock.ts';

t.test('what is to come in two months does not come at once', async (t) => {
  const warnings: string[] = [];
  const onWarning = ({ name }: Error) => warnings.push(name);
  process.on('warning', onWarning);
  let isOver = false;
  const cancel = systemClock.after(60 * 86_400_000, () => {
    isOver = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.notOk(isOver);
  cancel();
  process.off('warning', onWarning);
  t.same(warnings, []);
});
