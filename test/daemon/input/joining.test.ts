/** Wrong ways to join, through the real command and real daemons: each is told in one line and leaves nothing. */
import net from 'node:net';
import t from 'tap';
import { formatToken, parseToken } from '../../../protocols/trust/token.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { eventually } from '../node/eventually.ts';
import { RealDaemon, refusedWith, TIMEOUT_MS } from './real-daemon.ts';

t.setTimeout(TIMEOUT_MS);

t.test('a host that fails to join is told why, stays as it was, and can still join', async (t) => {
  const directory = await temporaryDirectory(t);
  const [member, joiner, late] = await Promise.all(
    ['member', 'joiner', 'late'].map((name) => RealDaemon.start(t, { directory, name })),
  );
  t.equal((await member!.cli(['init', '--name', 'shop'])).code, 0);
  const good = (await member!.client.createToken({ uses: 1 })).token;
  const short = (await member!.client.createToken({ ttl_ms: 1000 })).token;
  const parsed = parseToken(good);
  const join = (token: string) => joiner!.cli(['join'], { stdin: token });

  refusedWith(t, await join('shoal1.nonsense'), 'E_TOKEN_MALFORMED');
  refusedWith(t, await join(good.slice(0, -20)), 'E_TOKEN_MALFORMED', 'a token that was cut short');
  refusedWith(t, await join(''), 'E_TOKEN_MALFORMED', 'no token');
  const given = await joiner!.cli(['join', good]);
  refusedWith(t, given, 'E_USAGE', 'a token in argv');
  t.match(given.stderr, /--token-file/);
  t.notOk(given.stderr.includes(good), 'the secret is not repeated');
  refusedWith(
    t,
    await join(formatToken({ ...parsed, cluster: '1'.repeat(64) })),
    'E_TOKEN_REFUSED',
    'of another cluster',
  );
  refusedWith(
    t,
    await join(formatToken({ ...parsed, grant: '1'.repeat(64) })),
    'E_TOKEN_UNKNOWN',
    'of no grant',
  );
  refusedWith(
    t,
    await join(formatToken({ ...parsed, seed: new Uint8Array(32).fill(1) })),
    'E_TOKEN_REFUSED',
    'with another key',
  );
  const [door] = parsed.doors;
  const closed = await freePort();
  refusedWith(
    t,
    await join(formatToken({ ...parsed, doors: [door!.replace(/tcp\/\d+/, `tcp/${closed}`)] })),
    'E_UNREACHABLE',
  );
  await eventually('the short one has expired', () => Date.now() > parseToken(short).notAfter_ms);
  refusedWith(t, await join(short), 'E_TOKEN_EXPIRED');
  t.match(
    await joiner!.client.status(),
    { cluster: null, addresses: [], doors: [] },
    'nothing is left of them',
  );
  t.match(await member!.client.nodes(), { length: 1 });

  const joined = await join(`${good}\n`);
  t.equal(joined.code, 0, joined.stderr);
  t.match(await joiner!.client.status(), { cluster: { name: 'shop' } });

  refusedWith(t, await late!.cli(['join'], { stdin: good }), 'E_TOKEN_USED');
  t.match(await late!.client.status(), { cluster: null });
  refusedWith(t, await join((await member!.client.createToken({})).token), 'E_ALREADY_CLUSTER', 'join again');
  refusedWith(t, await joiner!.cli(['init']), 'E_ALREADY_CLUSTER', 'init after join');

  const next = (await member!.client.createToken({})).token;
  await eventually(
    'the other member knows the token',
    async () => (await member!.client.status()).members.alive === 2,
  );
  await member!.stop();
  const last = await late!.cli(['join'], { stdin: next });
  t.equal(last.code, 0, 'one that can be reached is enough: the joiner of before lets the late one in');
});

/** A port that was free just now. */
async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
