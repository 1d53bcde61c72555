/** The text form of join tokens. */
import t from 'tap';
import { formatToken, type JoinToken, parseToken } from '../../../protocols/trust/token.ts';
import fc from '../../laws.ts';

const token: JoinToken = {
  cluster: 'ab'.repeat(32),
  seed: new Uint8Array(32).fill(7),
  grant: 'cd'.repeat(32),
  notAfter_ms: 1_800_000_000_000,
  roles: ['member', 'worker'],
  doors: ['/ip4/10.77.0.1/tcp/4748/p2p/12D3KooWxyz'],
};

t.test('a token survives formatting, parsing and white space around it', async (t) => {
  t.same(parseToken(`  ${formatToken(token)}\n`), token);
});

t.test('a token is never longer than may be read: doors are left out from the end', async (t) => {
  const doors = Array.from({ length: 16 }, (_, n) => `${n}${'\u{1F41F}'.repeat(100)}`);
  const read = parseToken(formatToken({ ...token, doors }));
  t.same(read.doors, doors.slice(0, read.doors.length));
  t.ok(read.doors.length > 4);
  t.same(parseToken(formatToken({ ...token, doors: ['\u{1F41F}'.repeat(2000)] })).doors, []);
});

t.test('a token until a moment that no date can be is none', async (t) => {
  for (const notAfter_ms of [1e300, -1e300, Number.NaN, Number.MAX_SAFE_INTEGER])
    t.throws(() => parseToken(formatToken({ ...token, notAfter_ms })), { code: 'E_TOKEN_MALFORMED' });
});

t.test('anything else is refused by one code, and the message does not repeat it', async (t) => {
  const whole = formatToken(token);
  const broken = [
    '',
    'shoal1.',
    'shoal2.abcd',
    whole.slice(0, -9),
    `${whole.slice(0, 20)}!${whole.slice(21)}`,
    `shoal1.${'A'.repeat(8000)}`,
  ];
  for (const text of broken) {
    t.throws(() => parseToken(text), { code: 'E_TOKEN_MALFORMED' });
  }
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parseToken(`shoal1.${text}`);
      } catch (error) {
        const { code, message } = error as { code: string; message: string };
        return code === 'E_TOKEN_MALFORMED' && (text.length < 12 || !message.includes(text));
      }
      return false;
    }),
  );
});
