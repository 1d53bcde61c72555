import { isIPv4, isIPv6 } from 'node:net';
import t from 'tap';
import { addressLabel, parseAddress, reverseName } from '../../../protocols/discovery/ip-address.ts';
import fc from '../../laws.ts';

t.test('equal addresses have equal text', async (t) => {
  for (const [text, expected] of [
    ['10.0.0.1', '10.0.0.1'],
    ['::', '0:0:0:0:0:0:0:0'],
    ['::1', '0:0:0:0:0:0:0:1'],
    ['FD00:0::002', 'fd00:0:0:0:0:0:0:2'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ] as const)
    t.equal(parseAddress(text)?.text, expected, text);
});

t.test('what is no address is null', async (t) => {
  for (const text of [
    '',
    '1.2.3',
    '01.2.3.4',
    '256.1.1.1',
    '1.2.3.4\n',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7:8:9',
    '::g',
    'fe80::1%eth0',
    '1:2:3:4:5:6:7:8::',
  ])
    t.equal(parseAddress(text), null, JSON.stringify(text));
});

t.test('it agrees with the platform', async () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()), (text) => {
      const family = parseAddress(text)?.family ?? 0;
      if (text.includes(':') && /[.%]/.test(text)) return family === 0;
      return family === (isIPv4(text) ? 4 : isIPv6(text) ? 6 : 0);
    }),
  );
});

t.test('reverse names and labels', async (t) => {
  t.equal(reverseName(parseAddress('10.1.2.3')!), '3.2.1.10.in-addr.arpa');
  t.equal(reverseName(parseAddress('fd00::1')!), `1${'.0'.repeat(27)}.0.0.d.f.ip6.arpa`);
  t.equal(addressLabel(parseAddress('10.1.2.3')!), '10-1-2-3');
});
