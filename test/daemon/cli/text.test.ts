/** Text for people, what users type, and what `shoal run` draws. */
import t from 'tap';
import type { WatchEvent } from '../../../daemon/api/schemas.ts';
import {
  parseDuration,
  parseEnvironmentFile,
  parsePort,
  parseReference,
  parseSince,
} from '../../../daemon/cli/arguments.ts';
import { healthySlots, progressLines, ROWS_MAX } from '../../../daemon/cli/progress.ts';
import { ageText, printable, sizeText, table } from '../../../daemon/cli/text.ts';
import { parseListen } from '../../../daemon/config/options.ts';
import { defaultData, defaultSocket } from '../../../daemon/config/paths.ts';
import { fakeBackend } from '../api/fake-backend.ts';

t.test('a table has columns as wide as their widest cell, and no control characters', async (t) => {
  t.equal(
    table(
      ['A', 'LONG'],
      [
        ['xyz', '1'],
        ['y\x1b', ''],
      ],
    ),
    'A    LONG\nxyz  1\ny?',
  );
  t.equal(printable('a\r\n\x9bb'), 'a???b');
});

t.test('sizes and ages take the largest unit that fits', async (t) => {
  t.strictSame([0, 1023, 1024, 5 << 20, 2 ** 50].map(sizeText), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '5.0 MiB',
    '1024.0 TiB',
  ]);
  t.strictSame([-5, 59_000, 300_000, 3 * 3_600_000, 5 * 86_400_000].map(ageText), [
    '0s',
    '59s',
    '5m',
    '3h',
    '5d',
  ]);
});

t.test('a reference names a workload, perhaps an instance', async (t) => {
  t.strictSame(parseReference('web', 'd'), { namespace: 'd', name: 'web' });
  t.strictSame(parseReference('web/2', 'd'), { namespace: 'd', name: 'web', index: 2 });
  t.strictSame(parseReference('shop/web', 'd'), { namespace: 'shop', name: 'web' });
  t.strictSame(parseReference('shop/web/0', 'd'), { namespace: 'shop', name: 'web', index: 0 });
  for (const bad of ['', '/', 'a/', '/a', 'a/b/c', 'a/b/c/1'])
    t.throws(() => parseReference(bad, 'd'), { code: 'E_USAGE' }, bad);
});

t.test('a time in the past is so long ago, or a date', async (t) => {
  const now = Date.parse('2026-01-31T12:00Z');
  t.equal(parseSince('2h', '--since', now), now - 7_200_000);
  t.equal(parseSince('2026-01-30T12:00:30Z', '--since', now), now - 86_400_000 + 30_000);
  t.equal(parseSince('99999d', '--since', now), 0);
  t.equal(parseSince('2026-01-31T12:00:30Z', '--since', now), now + 30_000, 'clocks differ');
  t.throws(() => parseSince('2062-01-30T12:00Z', '--since', now), {
    code: 'E_USAGE',
    message: /is yet to come/,
  });
  for (const bad of [
    ...['', 'yesterday', '2026', '2026-13-01', '-2h', '2026-01-32', '2025-02-29', '2025-02-31T10:00Z'],
    ...['2026-01-30T', '2026-01-30T25:00', '2026-01-30 10:00 PST', '2026-01-30T10:00+99:00', '2026-01-30Z'],
  ])
    t.throws(() => parseSince(bad, '--since', now), { code: 'E_USAGE' }, bad);
});

t.test('a time without a zone is UTC, wherever the host is', (t) => {
  const now = Date.parse('2026-01-31T12:00Z');
  const before = process.env.TZ;
  process.env.TZ = 'America/Los_Angeles';
  t.teardown(() => {
    if (before === undefined) delete process.env.TZ;
    else process.env.TZ = before;
  });
  t.not(
    Date.parse('2026-01-30T10:15'),
    Date.parse('2026-01-30T10:15Z'),
    'which the zone of this host is not',
  );
  for (const text of [
    '2026-01-30T10:15',
    '2026-01-30 10:15',
    '2026-01-30T10:15:00Z',
    '2026-01-30T02:15-08:00',
  ])
    t.equal(parseSince(text, '--since', now), Date.parse('2026-01-30T10:15Z'), text);
  t.equal(parseSince('2026-01-30', '--since', now), Date.parse('2026-01-30T00:00Z'));
  t.equal(parseSince('2024-02-29', '--since', now), Date.parse('2024-02-29T00:00Z'));
  t.end();
});

t.test('durations, ports and environment files', async (t) => {
  t.strictSame(
    ['90', '1.5s', '250ms', '2m', '1h', '2d'].map((text) => parseDuration(text, 'x')),
    [90_000, 1500, 250, 120_000, 3_600_000, 172_800_000],
  );
  for (const bad of ['', 's', '-1s', '1w', '1e3'])
    t.throws(() => parseDuration(bad, 'x'), { code: 'E_USAGE' }, bad);
  for (const bad of ['', 'http', 'a:0', '65536', 'A:80', 'a:b:1'])
    t.throws(() => parsePort(bad), { code: 'E_USAGE' }, bad);
  t.strictSame(parseEnvironmentFile('A=1\r\n\n#x\nB=', 'f'), [
    ['A', '1'],
    ['B', ''],
  ]);
  t.throws(() => parseEnvironmentFile('novalue', 'f'), { code: 'E_USAGE' });
});

t.test('an address to listen on is host:port or a multiaddr', async (t) => {
  const parse = (text: string) => parseListen(text, 7, '--x');
  t.strictSame(parse('10.0.0.1'), { host: '10.0.0.1', port: 7 });
  t.strictSame(parse('10.0.0.1:0'), { host: '10.0.0.1', port: 0 });
  t.strictSame(parse('/ip4/10.0.0.1/tcp/80'), { host: '10.0.0.1', port: 80 });
  t.strictSame(parse('/ip6/::1'), { host: '::1', port: 7 });
  t.strictSame(parse('[::1]:80'), { host: '::1', port: 80 });
  t.strictSame(parse('fe80::1'), { host: 'fe80::1', port: 7 });
  for (const bad of ['', 'host:80', '10.0.0.1:', '10.0.0.1:65536', '[10.0.0.1', '/dns4/x/tcp/1']) {
    t.throws(() => parse(bad), { code: 'E_USAGE' }, bad);
  }
});

t.test('root and other users have places of their own', async (t) => {
  t.equal(defaultSocket({ XDG_RUNTIME_DIR: '/run/user/7' }, 0), '/run/shoal/shoal.sock');
  t.equal(defaultSocket({ XDG_RUNTIME_DIR: '/run/user/7' }, 7), '/run/user/7/shoal.sock');
  t.match(defaultSocket({}, 7), /shoal-7\.sock$/);
  t.equal(defaultData({ HOME: '/home/x' }, 7), '/home/x/.local/share/shoal');
  t.equal(defaultData({ HOME: '/home/x', XDG_DATA_HOME: '/data' }, 7), '/data/shoal');
  for (const unset of ['', 'data'])
    t.equal(defaultData({ HOME: '/home/x', XDG_DATA_HOME: unset }, 7), '/home/x/.local/share/shoal');
  t.throws(() => defaultData({ XDG_DATA_HOME: '' }, 7), { code: 'E_USAGE', message: /--data/ });
});

async function lastEvent(replicas: number): Promise<WatchEvent> {
  const backend = fakeBackend();
  const workload = await backend.run({ name: 'web', image: 'web:1', replicas });
  const events: WatchEvent[] = [];
  for await (const event of backend.watch(workload, { signal: AbortSignal.timeout(1000) }))
    events.push(event);
  return events[0] as WatchEvent;
}

t.test('a layer has a bar, and says where its bytes come from', async (t) => {
  const lines = progressLines(await lastEvent(1), 200);
  t.match(lines[0], 'default/web generation 1: 0 of 1 healthy');
  t.match(lines.at(-1), /two aaaaaaaaaaaa +\[########-{16}\] +33% +3\.0 MiB fetching +from one 1\.0 MiB/);
});

t.test('lines fit the terminal, and many instances are summed up', async (t) => {
  const lines = progressLines(await lastEvent(ROWS_MAX * 2), 40);
  t.ok(lines.every((line) => line.length < 40));
  t.ok(lines.some((line) => /and 21 more instances/.test(line)));
});

t.test('a slot that two nodes hold counts once, and one on a failed node not at all', async (t) => {
  const event = await lastEvent(2);
  const [one] = event.allocations.map((each) => ({
    ...each,
    phase: 'running' as const,
    health: 'healthy' as const,
  }));
  if (!one) throw new Error('the fake has instances');
  t.equal(healthySlots({ ...event, allocations: [one, { ...one, node: 'other' }] }), 1);
  t.equal(healthySlots({ ...event, allocations: [{ ...one, nodeStatus: 'failed' }] }), 0);
  t.equal(healthySlots({ ...event, allocations: [{ ...one, generation: 0 }] }), 0);
});
