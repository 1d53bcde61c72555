import t from 'tap';
import { assertConfig, MEMBERSHIP_DEFAULTS } from '../../../protocols/membership/config.ts';

t.test('presets agree with themselves', async (t) => {
  t.equal(assertConfig(MEMBERSHIP_DEFAULTS), MEMBERSHIP_DEFAULTS);
});

t.test('settings that contradict one another are refused', async (t) => {
  t.throws(() => assertConfig({ ...MEMBERSHIP_DEFAULTS, reprobe_interval_ms: 200 }), RangeError);
  t.throws(() => assertConfig({ ...MEMBERSHIP_DEFAULTS, late_ms: 50 }), RangeError);
  t.throws(() => assertConfig({ ...MEMBERSHIP_DEFAULTS, suspicionClosed_ms: 500 }), RangeError);
  t.throws(() => assertConfig({ ...MEMBERSHIP_DEFAULTS, watchers_count: 0 }), RangeError);
  t.throws(() => assertConfig({ ...MEMBERSHIP_DEFAULTS, suspicionConfirmed_ms: 5000 }), RangeError);
  t.throws(() => assertConfig({ ...MEMBERSHIP_DEFAULTS, redialFirst_ms: 60_000 }), RangeError);
});
