import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { formatToken, parseToken } from '../../protocols/trust/token.ts';
import { whyNot, withHosts } from './shoal-hosts.ts';
import { until } from './until.ts';

t.setTimeout(300_000);
const skip = await whyNot();

t.test('who may join, and who may not', { skip }, async (t) => {
  await withHosts(t, 4, async (hosts) => {
    const [one, two, other, joiner] = hosts.all.map(({ api }) => api);
    await hosts.startDaemons([1, 2, 3, 4]);
    await hosts.form([1]);
    await hosts.form([3]);
    const used = (await one!.createToken({})).token;
    const spare = (await one!.createToken({})).token;
    const foreign = (await other!.createToken({})).token;
    const brief = await one!.createToken({ ttl_ms: 1000 });
    const unknown = { ...parseToken(spare), grant: 'ab'.repeat(32) };
    t.equal((await two!.join({ token: used })).id, (await one!.status()).cluster!.id);
    await hosts.allAlive([1, 2]);
    await sleep(Math.max(0, brief.expires_ms - Date.now()) + 50);

    const refused: [what: string, token: string, exit: number, code: string][] = [
      ['a text that is no token', 'shoal-nonsense', 5, 'E_TOKEN_MALFORMED'],
      ['half a token', spare.slice(0, spare.length / 2), 5, 'E_TOKEN_MALFORMED'],
      ['an expired token', brief.token, 5, 'E_TOKEN_EXPIRED'],
      [
        'an expired token whose date was changed',
        formatToken({ ...parseToken(brief.token), notAfter_ms: Date.now() + 60_000 }),
        5,
        'E_TOKEN_EXPIRED',
      ],
      ['a used token', used, 5, 'E_TOKEN_USED'],
      ['a token whose grant nobody knows', formatToken(unknown), 5, 'E_TOKEN_UNKNOWN'],
      [
        'a token with another key',
        formatToken({ ...parseToken(spare), seed: new Uint8Array(32).fill(7) }),
        5,
        'E_TOKEN_REFUSED',
      ],
      [
        'a token of another cluster',
        formatToken({ ...parseToken(foreign), doors: parseToken(spare).doors }),
        5,
        'E_TOKEN_REFUSED',
      ],
      [
        'a token whose members cannot be reached',
        formatToken({ ...parseToken(spare), doors: ['/ip4/10.77.0.1/tcp/9'] }),
        9,
        'E_UNREACHABLE',
      ],
    ];
    for (const [what, token, exit, code] of refused) {
      const { code: got, stderr } = await hosts.shoal(4, ['join'], token);
      t.same([got, stderr.includes(code)], [exit, true], `${what} is refused with ${code}: ${stderr.trim()}`);
      t.equal((await joiner!.status()).cluster, null, 'no half state');
    }
    for (const [number, code] of [
      [3, 'E_DATA_OTHER_CLUSTER'],
      [2, 'E_ALREADY_CLUSTER'],
    ] as const) {
      const already = await hosts.shoal(number, ['join'], spare);
      t.same([already.code, already.stderr.includes(code)], [7, true], already.stderr);
    }
    t.same(
      (await one!.nodes()).map(({ name }) => name),
      ['host1', 'host2'],
      'nobody came in',
    );

    await t.test('a token is good while any one member is reachable', async (t) => {
      const token = (await one!.createToken({})).token;
      // What one node writes arrives in its order: with the intent, the token is there too.
      await one!.setIntent('host1', 'cordoned');
      await until('host2 knows what host1 wrote last', async () =>
        (await two!.nodes()).some(({ name, intent }) => name === 'host1' && intent === 'cordoned'),
      );
      hosts.killHost(1);
      const joined = await hosts.shoal(4, ['join', '--json'], token);
      t.equal(joined.code, 0, joined.stderr);
      await hosts.allAlive([2, 4]);
      for (const number of [2, 4]) {
        await until(`host${number} holds host1 as failed`, async () =>
          (await hosts.host(number).api.nodes()).some(
            ({ name, status }) => name === 'host1' && status === 'failed',
          ),
        );
      }
      await hosts.startDaemons([1]);
      await hosts.allAlive([1, 2, 4]);
      await hosts.agree([1, 2, 4]);
    });
  });
});
