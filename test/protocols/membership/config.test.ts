import t from 'tap';
import { assertConfig, LAN } from '../../../protocols/membership/config.ts';

t.test('presets agree with themselves', async (t) => {
  t.equal(assertConfig(LAN), LAN);
});

t.test('settings that contradict one another are refused', async (t) => {
  t.throws(() => assertConfig({ ...LAN, reprobe_interval_ms: 200 }), RangeError);
  t.throws(() => assertConfig({ ...LAN, late_ms: 50 }), RangeError);
  t.throws(() => assertConfig({ ...LAN, suspicionClosed_ms: 500 }), RangeError);
  t.throws(() => assertConfig({ ...LAN, watchers_count: 0 }), RangeError);
  t.throws(() => assertConfig({ ...LAN, suspicionConfirmed_ms: 5000 }), RangeError);
  t.throws(() => assertConfig({ ...LAN, redialFirst_ms: 60_000 }), RangeError);
});
