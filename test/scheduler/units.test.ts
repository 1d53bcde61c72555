import t from 'tap';
import { parseCpu, parseMemory } from '../../scheduler/units.ts';
import fc from '../laws.ts';

t.test('cores and thousandths of a core become thousandths', async (t) => {
  const cases: [string | number, number][] = [
    ['0.5', 500],
    ['500m', 500],
    ['2', 2000],
    [1.5, 1500],
    [' 1m ', 1],
    ['0.001', 1],
  ];
  for (const [text, millis] of cases) t.equal(parseCpu(text), millis, String(text));
});

t.test('bytes take decimal and binary units in any case', async (t) => {
  const cases: [string | number, number][] = [
    [1024, 1024],
    ['64Mi', 64 << 20],
    ['64MiB', 64 << 20],
    ['1G', 1e9],
    ['1.5gi', 1.5 * 2 ** 30],
    ['10k', 10_000],
    ['512B', 512],
    ['2 Ti', 2 * 2 ** 40],
  ];
  for (const [text, bytes] of cases) t.equal(parseMemory(text), bytes, String(text));
});

t.test('what is no amount is refused by name', async (t) => {
  for (const text of ['', '0', '-1', 'm', '1e3', '0.0001', 'half', 'NaN', '1..5', '0x10']) {
    t.throws(() => parseCpu(text), { code: 'E_BAD_SPEC', message: /^cpu: / }, `cpu ${text}`);
  }
  for (const text of ['', '0', '-1', 'Mi', '1X', '1MM', '9999999999999999Ti', 'Infinity']) {
    t.throws(() => parseMemory(text), { code: 'E_BAD_SPEC', message: /^memory: / }, `memory ${text}`);
  }
});

t.test('any text gives a positive whole number or E_BAD_SPEC', async () => {
  const parses = (parse: (text: string) => number) => (text: string) => {
    try {
      const amount = parse(text);
      return Number.isSafeInteger(amount) && amount > 0;
    } catch (error) {
      return (error as { code?: string }).code === 'E_BAD_SPEC';
    }
  };
  fc.assert(fc.property(fc.string(), parses(parseCpu)));
  fc.assert(fc.property(fc.stringMatching(/^[\d.]{1,8}[kMGTi]{0,2}B?$/), parses(parseMemory)));
});
