import { decode } from 'dns-packet';
import t from 'tap';
import { encodeAnswer, parseQuery, TCP_BYTES_MAX, UDP_BYTES_MAX } from '../../../daemon/dns/dns-wire.ts';
import type { DnsAnswer, DnsRecord } from '../../../protocols/discovery/dns-record.ts';
import fc from '../../laws.ts';
import { queryBytes } from './dns-client.ts';

t.test('no bytes make it throw, and what it reads is bounded', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 700 }), fc.boolean(), (bytes, plausible) => {
      if (plausible && bytes.length >= 12) bytes.set([0x01, 0, 0, 1, 0, 0, 0, 0, 0, bytes[0]! & 1], 2);
      const parsed = parseQuery(bytes);
      if (parsed === null) return true;
      const { udp_bytes, questionBytes } = parsed.query;
      return udp_bytes >= 512 && udp_bytes <= UDP_BYTES_MAX && questionBytes.length <= 255 + 4;
    }),
  );
});

t.test('a dot within a label is not a label’s end', async (t) => {
  const bytes = Buffer.concat([
    queryBytes('').subarray(0, 12),
    Buffer.from('\x0bweb.default\x08internal\x00\x00\x01\x00\x01', 'latin1'),
  ]);
  t.match(parseQuery(bytes), {
    error: null,
    query: { question: { name: 'web\\.default.internal', type: 'A' } },
  });
});

t.test('every kind of record can be read by another implementation', async (t) => {
  const own = { name: 'x.internal', ttl: 5 };
  const answers: DnsRecord[] = [
    { ...own, type: 'A', data: '192.0.2.1' },
    { ...own, type: 'AAAA', data: 'fd00:0:0:0:0:0:0:1' },
    { ...own, type: 'SRV', data: { priority: 0, weight: 1, port: 80, target: 'y.internal' } },
    { ...own, type: 'TXT', data: ['a=b', 'c'] },
    { ...own, type: 'PTR', data: 'z.internal' },
    { ...own, type: 'NS', data: 'n.internal' },
  ];
  const parsed = parseQuery(queryBytes('x.internal'));
  const found: DnsAnswer = { rcode: 'NOERROR', authoritative: true, answers, additionals: [], authority: [] };
  const message = decode(encodeAnswer(parsed!.query, found, TCP_BYTES_MAX));
  t.match(message.questions, [{ name: 'x.internal', type: 'A' }]);
  t.same(
    message.answers?.map(({ type }) => type),
    answers.map(({ type }) => type),
  );
});

t.test('glue goes before answers do, and TCP’s limit holds too', async (t) => {
  const { query } = parseQuery(queryBytes('x.internal'))!;
  const a: DnsRecord = { name: 'x.internal', ttl: 5, type: 'A', data: '192.0.2.1' };
  const reply = (answers: number, additionals: number, name = a.name): DnsAnswer => ({
    rcode: 'NOERROR',
    authoritative: true,
    answers: Array<DnsRecord>(answers).fill({ ...a, name }),
    additionals: Array<DnsRecord>(additionals).fill(a),
    authority: [],
  });
  t.match(decode(encodeAnswer(query, reply(5, 50), 512)), { flag_tc: false, additionals: { length: 0 } });
  t.match(decode(encodeAnswer(query, reply(50, 0), 512)), { flag_tc: true, answers: { length: 0 } });
  const long = `${'l'.repeat(63)}.${'l'.repeat(63)}.${'l'.repeat(63)}.internal`;
  const cut = encodeAnswer(query, reply(400, 0, long), TCP_BYTES_MAX);
  t.ok(cut.length <= TCP_BYTES_MAX && cut.length > 20_000, String(cut.length));
  t.match(decode(cut), { flag_tc: true });
});
