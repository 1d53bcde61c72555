/** The commands about trust and history, and how concurrent versions are shown, against a server with a fake backend. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { refusalText } from '../../../daemon/clock-texts.ts';
import { apiFixture } from '../api/api-fixture.ts';
import {
  AT_MS,
  NODE_1,
  NODE_2,
  PLAN,
  REVOCATION,
  TOKEN,
  TOKEN_PLAN,
  turnOf,
  VOTE_PLAN,
} from '../api/fake-trust.ts';
import { runCli } from './run-cli.ts';

const json = (text: string): unknown => JSON.parse(text);
// Each call is a process: a few at a time, and slow ones on a loaded machine.
t.jobs = 4;
t.setTimeout(120_000);
const WEB = { name: 'web', image: 'web:1', replicas: 2 };

t.test('concurrent versions are told on stderr: who won, who lost, what differs, what to do', async (t) => {
  const { socket, client, backend } = await apiFixture(t);
  await client.run(WEB);
  const sibling = {
    author: NODE_2,
    authorName: 'two',
    generation: 1,
    written_ms: AT_MS,
    revision: 'd'.repeat(64),
    difference: 'replicas 2 -> 5',
  };
  const [key, workload] = [...backend.specs][0]!;
  backend.specs.set(key, { ...workload, siblings: [sibling] });
  for (const args of [['ps'], ['ps', 'web'], ['ps', '-w']]) {
    const { stdout, stderr } = await runCli(socket, args);
    t.notMatch(stdout, /concurrent/, args.join(' '));
    t.equal(
      stderr,
      'default/web has 2 concurrent versions; the winner is generation 1, at one, 2023-11-14T22:13:20Z. ' +
        'Run or scale it again to settle it.\n' +
        '  lost: generation 1, at two, 2023-11-14T22:13:20Z: replicas 2 -> 5\n',
    );
  }
  t.equal((await runCli(socket, ['ps', 'other'])).stderr, '', 'of another workload nothing is told');
  t.equal((await runCli(socket, ['ps', '--json'])).stderr, '', 'JSON has it in it');
  const [image] = await backend.images();
  const digest = `sha256:${'9'.repeat(64)}`;
  const conflict = { name: 'web:1', winner: sibling, siblings: [{ ...sibling, difference: digest }] };
  backend.images = async () => [{ ...image!, conflicts: [conflict] }];
  t.match(
    (await runCli(socket, ['image', 'ls'])).stderr,
    /^web:1 has 2 concurrent versions.*\n {2}lost: .*9999/,
  );
});

t.test('tokens are listed and revoked by their ids', async (t) => {
  const { socket, backend } = await apiFixture(t);
  t.match(
    (await runCli(socket, ['token', 'ls'])).stdout,
    /^ID .*\n4f5c0e91a2b3 +valid +1\/2 +2023-11-14T22:28:20Z +one +member,worker +two\n$/,
  );
  t.equal((await runCli(socket, ['token', 'ls', '-a', '-q'])).stdout, `${TOKEN.id}\n`);
  t.same(backend.calls.at(-1)?.args, [{ all: true }]);
  t.match(json((await runCli(socket, ['token', 'ls', '--json'])).stdout), [{ id: TOKEN.id }]);
  const revoked = await runCli(socket, ['token', 'revoke', '4f5c0e91', '--reason', 'lost']);
  t.equal(revoked.stdout, `${TOKEN.id}\n`);
  t.equal(revoked.stderr, 'Joined with it, and stay: two.\n');
  t.same(backend.calls.at(-1)?.args, ['4f5c0e91', { reason: 'lost', plan: PLAN.digest }]);
  const hosts = await runCli(socket, ['token', 'revoke', '4f5c0e91', '--hosts', '--yes']);
  t.match(hosts.stderr, /hosts that are refused +old, two\n(?:.*\n)*Refused from now on: old, two\.\n$/);
  t.equal((await runCli(socket, ['token', 'revoke', '00000000'])).code, 4);
});

t.test('a token whose key is also a host or an operator is asked about', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const own = turnOf({ key: PLAN.key, name: 'old' });
  for (const changes of [{ nodes: own }, { operators: own }]) {
    backend.planRevokeToken = async () => ({ ...TOKEN_PLAN, ...changes });
    const asked = await runCli(socket, ['token', 'revoke', '4f5c0e91']);
    t.strictSame([asked.code, asked.stdout], [2, '']);
    t.match(asked.stderr, /E_UNCONFIRMED/);
  }
});

t.test('of a revoked token those are told to stay that do, and those to go', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const [host] = TOKEN.joined;
  const states = ['valid', 'expired', 'over-used', 'void', 'revoked'] as const;
  const joined = states.map((state) => ({ ...host!, nodeName: state, state }));
  backend.revokeToken = async () => ({ ...TOKEN, joined });
  const { stderr } = await runCli(socket, ['token', 'revoke', '4f5c0e91']);
  t.equal(stderr, 'Joined with it, and stay: valid, expired.\n');
  const ends = [{ key: NODE_2, name: 'valid' }];
  backend.planRevokeToken = async () => ({ ...PLAN, nodes: turnOf(...ends) });
  const hosts = await runCli(socket, ['token', 'revoke', '4f5c0e91', '--hosts', '--yes']);
  t.match(hosts.stderr, /\nRefused from now on: valid\.\n$/, 'and those to go that do');
  const nodes = { ...turnOf(...ends), ends_count: 3 };
  const untilRenewed = [{ key: NODE_1, name: 'one' }];
  backend.planRevokeToken = async () => ({ ...PLAN, nodes, untilRenewed, untilRenewed_count: 5 });
  const many = await runCli(socket, ['token', 'revoke', '4f5c0e91', '--hosts', '--yes']);
  t.match(
    many.stderr,
    /\nRefused from now on: valid and 2 more\.\nRefused until renewed: one and 4 more\.\n$/,
    'of more than a plan lists it is told how many',
  );
});

t.test('a node is revoked with what it let in, or removed once it is gone', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const args = [
    '--reason',
    'stolen',
    '--since',
    '2023-11-14T00:00Z',
    '--descendants',
    '--keep',
    'a',
    '--keep',
    'b',
    '--yes',
  ];
  const revoked = await runCli(socket, ['node', 'revoke', 'two', ...args]);
  t.equal(revoked.stdout, 'gone\n');
  t.match(revoked.stderr, /^old is refused from now on\. /m);
  t.same(backend.calls.at(-1)?.args, [
    'two',
    { reason: 'stolen', since_ms: Date.parse('2023-11-14T00:00Z'), descendants: true, keep: ['a', 'b'] },
  ]);
  t.match(json((await runCli(socket, ['node', 'revoke', 'two', '--json'])).stdout), { reason: /stolen/ });
  const alive = await runCli(socket, ['node', 'rm', 'two']);
  t.equal(alive.code, 7);
  t.match(alive.stderr, /E_STILL_ALIVE: the node two is alive; nothing was changed\. Stop its daemon first/);
  const forced = await runCli(socket, ['node', 'rm', 'two', '--force']);
  t.equal(forced.code, 0);
  t.equal(forced.stderr, 'This was vote 1 of 2: other operators have to say so too.\n');
  backend.removeNode = async () => ({ ...REVOCATION, key: NODE_1 });
  const open = [{ id: TOKEN.id, key: TOKEN.key, issuer: NODE_1, issuerName: 'one', host: null }];
  backend.planRevokeNode = async () => ({ ...PLAN, open });
  const admitter = await runCli(socket, ['node', 'rm', 'one', '--force']);
  t.match(admitter.stderr, /A token that it made is still good\. .*shoal token revoke 4f5c0e91a2b3\n$/);
});

t.test('a node that stays a member by the word of others is not said to be refused', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const by = [{ key: NODE_1, name: 'one' }];
  const host = { key: PLAN.key, name: 'old', by, at: by };
  const plan = { ...PLAN, nodes: turnOf<{ key: string; name: string }>(), staying: [host], staying_count: 1 };
  backend.planRevokeNode = async () => plan;
  backend.planRevokeToken = async () => plan;
  backend.removeNode = async () => REVOCATION;
  t.equal(
    (await runCli(socket, ['node', 'revoke', 'old', '--dry-run'])).stdout,
    'old is to be refused by the word of operator Op9999, and stays a member by that of others:\n' +
      '  stay all the same        old by the word of one\n',
  );
  for (const verb of ['revoke', 'rm']) {
    const { code, stderr } = await runCli(socket, ['node', verb, 'old']);
    t.equal(code, 0);
    t.match(
      stderr,
      /^What old had by the word of operator Op9999 ends, and it stays a member: old by the word of one\. To refuse it run the same there, or with an operator's key \(/m,
    );
    t.notMatch(stderr, /is refused from now on/, verb);
  }
  const token = await runCli(socket, ['token', 'revoke', '4f5c0e91', '--hosts']);
  t.equal(token.stderr, 'Stay all the same: old by the word of one.\n');
  const staying = [{ ...host, at: [] }];
  backend.planRevokeNode = async () => ({ ...plan, staying });
  t.match(
    (await runCli(socket, ['node', 'rm', 'old'])).stderr,
    /^What .*: old by the word of one\. To refuse it run the same with an operator's key \(/m,
    'where that one may not',
  );
});

t.test('of one that stays only once it is renewed that is said, and in one row', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const by = [{ key: NODE_1, name: 'one' }];
  const host = { key: PLAN.key, name: 'old', by, at: by };
  const nodes = turnOf<{ key: string; name: string }>();
  const [staying, untilRenewed] = [[host], [{ key: PLAN.key, name: 'old' }]];
  const plan = { ...PLAN, nodes, staying, staying_count: 1, untilRenewed, untilRenewed_count: 1 };
  backend.planRevokeNode = async () => plan;
  backend.planRevokeToken = async () => plan;
  backend.removeNode = async () => REVOCATION;
  t.equal(
    (await runCli(socket, ['node', 'revoke', 'old', '--dry-run'])).stdout,
    'old is to be refused by the word of operator Op9999, and stays by that of others once it is renewed:\n' +
      '  refused until renewed    old by the word of one\n',
  );
  for (const [verb, ...args] of [['revoke', '--yes'], ['rm']])
    t.match(
      (await runCli(socket, ['node', verb!, 'old', ...args])).stderr,
      /^What old had by the word of operator Op9999 ends: it is refused until an admitter renews it, for it stays by the word of one\. To refuse it for good /m,
    );
  const token = await runCli(socket, ['token', 'revoke', '4f5c0e91', '--hosts', '--yes']);
  t.match(token.stderr, /\nRefused until renewed: old by the word of one\.\n$/);
  t.notMatch(token.stderr, /Stay all the same/);
});

t.test('where nothing goes but what was named a dry run says so', async (t) => {
  const { socket, backend } = await apiFixture(t);
  backend.planRevokeToken = async () => TOKEN_PLAN;
  t.equal(
    (await runCli(socket, ['token', 'revoke', '4f5c0e91', '--dry-run'])).stdout,
    'old is to be refused, by the word of operator Op9999; nothing else changes.\n',
  );
});

t.test('a token that has the key of a host is told with what ends that', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const open = [{ id: TOKEN.id, key: TOKEN.key, issuer: 'gone', issuerName: 'old', host: 'two' }];
  backend.planRevokeNode = async () => ({ ...PLAN, open, open_count: 1 });
  backend.removeNode = async () => REVOCATION;
  t.match(
    (await runCli(socket, ['node', 'revoke', 'old', '--dry-run'])).stdout,
    /\n {2}tokens still good +4f5c0e91a2b3 made at old, the key of two\n$/,
  );
  for (const verb of ['revoke', 'rm'])
    t.match(
      (await runCli(socket, ['node', verb, 'old'])).stderr,
      /still good, and has the key of the host two\. .*: shoal node revoke 12D3KooWToken --descendants, with --keep for/,
      verb,
    );
});

t.test('who is named and stays out is shown before, and who stays with whom nobody named', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const [lacking, unnamed] = [[{ key: NODE_1, name: 'one' }], [{ key: NODE_2, name: 'two' }]];
  const namesakes = [{ ...unnamed[0]!, others: 2 }];
  const roles = [{ ...lacking[0]!, gains: ['deployer' as const], loses: ['admitter' as const] }];
  for (const [changes, row] of [
    [{ lacking }, '  named, and stay out      one\n'],
    [{ unnamed }, '  stay, and not named      two\n'],
    [{ namesakes }, `  kept by a name of many   two: ${NODE_2}, and none of 2 former ones\n`],
    [{ sentAway: lacking, sentAway_count: 3 }, '  sent away, and stay out  one and 2 more\n'],
    [{ untilRenewed: lacking, untilRenewed_count: 1 }, '  refused until renewed    one\n'],
    [{ roles, roles_count: 2 }, '  roles that change        one +deployer -admitter and 1 more\n'],
  ] as const) {
    backend.planRevokeNode = async () => ({ ...PLAN, ...changes });
    const asked = await runCli(socket, ['node', 'revoke', 'old', '--descendants', '--keep', 'one']);
    t.strictSame([asked.code, asked.stderr.includes(row)], [2, true]);
  }
});

t.test('what goes besides is shown before, and takes a yes; nothing was changed without one', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const acts = () => backend.calls.filter(({ method }) => /^revoke/.test(method)).length;
  const plan =
    'old is to be refused, by the word of operator Op9999:\n' +
    '  hosts that are refused   old, two\n' +
    '  written, and void        workload/default/web at two and 13 more\n' +
    '  hosts that are back      one\n' +
    '  tokens still good        999999999999 made at old\n';
  for (const command of [
    ['node', 'revoke', 'two', '--descendants'],
    ['operator', 'revoke', 'two', '--descendants'],
    ['token', 'revoke', '4f5c0e91', '--hosts'],
  ]) {
    const name = command.join(' ');
    const asked = await runCli(socket, command);
    t.strictSame([asked.code, asked.stdout], [2, ''], name);
    t.equal(
      asked.stderr,
      `${plan}shoal: E_UNCONFIRMED: this takes more than what was named; nothing was changed. ` +
        'Look at it, with --dry-run where there is one, then run it again with --yes.\n',
      name,
    );
    const dry = await runCli(socket, [...command, '--dry-run']);
    t.strictSame([dry.code, dry.stdout, dry.stderr], [0, plan, ''], name);
    t.match(json((await runCli(socket, [...command, '--dry-run', '--json'])).stdout), { name: 'old' }, name);
    t.equal(acts(), 0, name);
  }
  const done = await runCli(socket, ['node', 'revoke', 'two', '--descendants', '-y', '--keep-all']);
  t.equal(done.code, 0);
  t.match(
    done.stderr,
    /\nA token that it made is still good\. Unless you have it: shoal token revoke 9{12}\n$/,
  );
  t.match(backend.calls.at(-2), { method: 'planRevokeNode', args: ['two', { keepAll: true }] });
  t.strictSame(backend.calls.at(-1), {
    method: 'revokeNode',
    args: ['two', { descendants: true, keepAll: true }],
  });
  // Of what was not asked about, because nothing else goes, no more is to go either.
  await runCli(socket, ['node', 'revoke', 'one']);
  t.match(backend.calls.at(-1), { method: 'revokeNode', args: ['one', { plan: PLAN.digest }] });
  const vote = await runCli(socket, ['operator', 'revoke', 'two', '--dry-run']);
  t.equal(vote.stdout, 'old, by operator Op9999: vote 1 of 2; nothing changes until there are enough.\n');
  const closing = { id: TOKEN.id, key: TOKEN.key, issuer: 'gone', issuerName: 'old', host: null };
  const tokens = turnOf(closing);
  backend.planRevokeOperator = async () => ({ ...VOTE_PLAN, tokens });
  const closes = await runCli(socket, ['operator', 'revoke', 'two']);
  t.equal(closes.code, 2, 'a vote that ends tokens at once is asked about');
  t.match(
    closes.stderr,
    /^old, .*: vote 1 of 2; nothing else changes until there are enough\.\n {2}tokens that end +4f5c0e91a2b3 made at old\n/,
  );
  const nodes = turnOf({ key: NODE_1, name: 'three' });
  const open = [closing];
  backend.planRevokeOperator = async () => ({ ...VOTE_PLAN, tokens, nodes, open });
  t.match(
    (await runCli(socket, ['operator', 'revoke', 'two', '--dry-run'])).stdout,
    /^old, .*: vote 1 of 2; nothing else changes until there are enough\.\n {2}hosts that are refused +three\n {2}tokens that end +4f5c0e91a2b3 made at old\n(?! {2}tokens still good)/,
    'whatever changes at once is told',
  );
  backend.revokeOperator = async () => ({
    ...REVOCATION,
    votes: 1,
    needed: 2,
    effective: false,
    keeps: ['d1'],
  });
  const voting = ['operator', 'revoke', 'two', '--yes', '--descendants'];
  t.notMatch((await runCli(socket, voting)).stderr, /last vote/, 'what it keeps are revocations');
  t.match(
    (await runCli(socket, [...voting, '--keep', 'one'])).stderr,
    /^This was vote 1 of 2: .* goes with the last vote\. .* run the same once more\.$/m,
  );
  // One more than it took.
  const votes = { votes: 2, needed: 2, effective: false };
  backend.planRevokeOperator = async () => ({ ...VOTE_PLAN, ...votes });
  backend.revokeOperator = async () => ({ ...REVOCATION, ...votes });
  const spare = ['operator', 'revoke', 'two'];
  t.equal(
    (await runCli(socket, [...spare, '--dry-run'])).stdout,
    'old, by operator Op9999: nothing changes, for it is refused already by the word of others.\n',
  );
  t.match(
    (await runCli(socket, spare)).stderr,
    /^This changes nothing: old is refused already by the word of others\. For an earlier --since 2 have to give one/,
  );
});

t.test('what reaches no other host is said to, once it is done', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const status = await backend.status();
  const commands = [
    ['node', 'revoke', 'two'],
    ['node', 'rm', '-f', 'two'],
    ['operator', 'revoke', '--yes', 'two'],
    ['operator', 'add', '--yes', 'second'],
    ['token', 'create'],
    ['token', 'revoke', '4f5c0e91'],
  ];
  const told = async (command: readonly string[]) => {
    const { code, stderr } = await runCli(socket, command);
    t.equal(code, 0, stderr);
    return stderr.match(/^No other host has this yet: .*$/m)?.[0] ?? '';
  };
  backend.status = async () => ({ ...status, members: { alive: 1, suspect: 0, failed: 2 } });
  for (const command of commands) {
    const said = await told(command);
    t.match(said, /of the 2 others this one reaches none\. .*run the same at a host/, command.join(' '));
  }
  const clockRefusal = refusalText({ lead_ms: 300_000, until_ms: Date.now() + 240_000 });
  backend.status = async () => ({ ...status, clockRefusal });
  t.match(
    await told(commands[0]!),
    /: the clock of this host is 300 s ahead .* NTP client\. They take it later; .*another host\.$/,
  );
  const standing = { state: 'revoked', until_ms: null, renewableUntil_ms: null, reason: 'mine now' } as const;
  backend.status = async () => ({ ...status, standing });
  for (const command of commands)
    t.match(await told(command), /they refuse this one, which was revoked\./, command.join(' '));
  for (const members of [
    { alive: 2, suspect: 0, failed: 1 },
    { alive: 1, suspect: 1, failed: 1 },
    { alive: 1, suspect: 0, failed: 0 },
  ]) {
    backend.status = async () => ({ ...status, members });
    t.equal(await told(commands[0]!), '', JSON.stringify(members));
  }
});

t.test('status says until when an ended grant can be renewed, and what to do after that', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const status = await backend.status();
  const told = async (renewableUntil_ms: number | null) => {
    const standing = { state: 'expired', until_ms: AT_MS, renewableUntil_ms, reason: null } as const;
    backend.status = async () => ({ ...status, standing });
    return (await runCli(socket, ['status'])).stdout.match(/^standing .*$/m)![0];
  };
  t.match(await told(Date.now() + 60_000), /expired at .*refuse this node until an admitter .* until 20/);
  for (const past of [Date.now() - 1, null])
    t.match(await told(past), /no admitter renews it any more: give it a new token .*`shoal join`/);
});

t.test('an option that is out of bounds is named, with what is allowed, and nothing is sent', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const create = ['token', 'create'];
  for (const [args, said] of [
    [[...create, '--ttl', '0'], '--ttl "0" is out of bounds: it can be 1s to 30d'],
    [[...create, '--ttl', '100000d'], '--ttl "100000d" is out of bounds: it can be 1s to 30d'],
    [[...create, '--node-ttl', '1s'], '--node-ttl "1s" is out of bounds: it can be 10s to 3650d'],
    [[...create, '--uses', '99999999999'], '--uses "99999999999" is out of bounds: it can be 1 to 1024'],
    [[...create, '--role', 'king'], '--role "king" is none of member, worker, deployer, admitter'],
    [['init', '--name', 'sh op'], '--name "sh op" is no name: it takes 1 to 63 of a-z, 0-9 and -'],
  ] as const) {
    const { code, stderr } = await runCli(socket, args);
    t.equal(code, 2, args.join(' '));
    t.ok(stderr.startsWith(`shoal: E_USAGE: ${said}`), stderr);
  }
  t.same(backend.calls, []);
  const help = (await runCli(socket, [...create, '--help'])).stdout.replaceAll(/\s+/g, ' ');
  for (const cap of ['1s to 30d', '10s to 3650d', 'at most 1024']) t.ok(help.includes(cap), cap);
  t.match(await runCli(socket, ['token', 'revoke', 'zzz']), {
    code: 4,
    stderr: /E_NOT_FOUND: there is no token zzz/,
  });
  await runCli(socket, [...create, '--role', 'member', 'member', '--role', 'worker']);
  t.same(backend.calls.at(-1)!.args, [{ roles: ['member', 'worker'] }]);
});

t.test('before a token is revoked it is said that hosts may have joined out of sight', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const status = await backend.status();
  const told = async (...args: string[]) => {
    const { code, stderr } = await runCli(socket, ['token', 'revoke', '4f5c0e91', ...args]);
    t.equal(code, 0, stderr);
    return stderr;
  };
  backend.status = async () => ({ ...status, members: { alive: 3, suspect: 1, failed: 1 } });
  const text = /^2 members are not alive here: .* is not known, and goes too\. .*wait until all are back\.$/m;
  t.match(await told(), text);
  t.match(await told('--dry-run'), text);
  t.notMatch(await told('--hosts', '--yes'), /out of sight|not alive here/, 'all go anyway');
  backend.status = async () => ({ ...status, members: { alive: 3, suspect: 0, failed: 0 } });
  t.notMatch(await told(), /not alive here/);
});

t.test('the moment from which on a revocation voids is told, asked or not, and in UTC', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const since = ['--since', '2023-11-14 10:00'];
  const inLosAngeles = { env: { TZ: 'America/Los_Angeles' } };
  const moment =
    'old, with what it wrote after 2023-11-14T10:00:00Z, is to be refused, by the word of operator';
  for (const command of [
    ['node', 'revoke', 'one'],
    ['node', 'revoke', 'two', '--descendants', '--yes'],
  ]) {
    const done = await runCli(socket, [...command, ...since], inLosAngeles);
    t.equal(done.code, 0, done.stderr);
    t.equal(done.stderr.slice(0, moment.length), moment, command.join(' '));
    t.match(
      backend.calls.at(-1)?.args,
      ['one', { since_ms: Date.parse('2023-11-14T10:00Z') }].with(0, command[2]!),
    );
  }
  const vote = await runCli(socket, ['operator', 'revoke', 'two', '--dry-run', ...since], inLosAngeles);
  t.match(
    vote.stdout,
    /^old, with what it wrote after 2023-11-14T10:00:00Z, by operator Op9999: vote 1 of 2;/,
  );
});

t.test('who dismisses the last operators that it takes is asked, and told that it is for good', async (t) => {
  const { socket, backend } = await apiFixture(t);
  backend.planRevokeOperator = async () => ({ ...PLAN, leavesTooFew: true, early_count: 1 });
  const acts = () => backend.calls.filter(({ method }) => method === 'revokeOperator').length;
  const asked = await runCli(socket, ['operator', 'revoke', 'two']);
  t.equal(asked.code, 2);
  t.match(asked.stderr, /^Some of what it signed later bears a time before --since/m);
  t.match(asked.stderr, /^Fewer operators remain than it takes .* for good/m);
  t.match(asked.stderr, /E_UNCONFIRMED/);
  t.equal(acts(), 0);
  t.equal((await runCli(socket, ['operator', 'revoke', 'two', '--yes'])).code, 0);
  t.equal(acts(), 1);
});

t.test('operators are listed, added and revoked, with a key that no daemon keeps', async (t) => {
  const { socket, backend, directory } = await apiFixture(t);
  const file = path.join(directory, 'second.key');
  const made = await runCli('/nonexistent', ['operator', 'create', file]);
  t.match(made.stdout, /^12D3KooW\w{44}\n$/);
  t.match(made.stderr, /keep it offline/);
  t.equal((await stat(file)).mode & 0o777, 0o600);
  const again = await runCli('/nonexistent', ['operator', 'create', file]);
  t.equal(again.code, 2);
  t.match(again.stderr, /E_USAGE: operator create .*a key is never overwritten/);
  const operatorKey = (await readFile(file, 'utf8')).trim();
  t.notMatch(made.stdout + made.stderr, operatorKey);

  t.match(
    (await runCli(socket, ['operator', 'ls'])).stdout,
    /^RANK +STATE +ID\n1 +in force +12D3KooWOperator/,
  );
  t.match((await runCli(socket, ['operator', 'ls', '-q'])).stdout, /^12D3KooWOperator\w+\n$/);
  const add = ['operator', 'add', 'second', '--operator-key', file];
  const unasked = await runCli(socket, add);
  t.equal(unasked.code, 2);
  t.match(
    unasked.stderr,
    /^second is to rule the cluster\..*\n.*\nshoal: E_UNCONFIRMED: a vote for an operator is kept/,
  );
  t.notOk(
    backend.calls.some(({ method }) => method === 'appoint'),
    'nothing was changed',
  );
  const added = await runCli(socket, [...add, '--yes']);
  t.strictSame([added.code, added.stdout], [0, 'second\n']);
  t.match(added.stderr, /\nIt is an operator now\.\n$/);
  t.same(backend.calls.at(-1)?.args, [{ key: 'second', operatorKey }]);
  t.match(
    (await runCli(socket, ['operator', 'add', 'third', '-y'])).stderr,
    /\nThis was vote 1 of 2: .* Nobody can take a vote back: if it was a mistake, 2 of them have to `shoal operator revoke`/,
  );
  const [first] = await backend.operators();
  const known = await runCli(socket, ['operator', 'add', first!.key]);
  t.strictSame([known.code, known.stderr], [0, 'It is an operator already: nothing was changed.\n']);
  backend.operators = async () => [
    { key: 'second', name: 'operator second', genesis: false, revoked: false },
  ];
  const more = await runCli(socket, ['operator', 'add', 'second']);
  t.equal(more.code, 2);
  t.match(more.stderr, /^second is an operator already\. .*\n.*\n.*E_UNCONFIRMED/);
  const vote = ['operator', 'revoke', 'two'];
  const against = await runCli(socket, vote);
  t.equal(against.code, 2);
  t.match(against.stderr, /: vote 1 of 2; .*\n.* kept for ever: nobody can take it back\.\n.*E_UNCONFIRMED/);
  t.equal((await runCli(socket, [...vote, '--yes'])).code, 0);
  const told = await runCli(socket, ['operator', 'add', 'third', '-y', '--json']);
  t.match(json(told.stdout), { key: 'third', votes: 1, needed: 2, effective: false });
  for (const [command, method] of [
    [['operator', 'revoke', '-y', 'second'], 'revokeOperator'],
    [['node', 'revoke', 'two'], 'revokeNode'],
    [['node', 'rm', '-f', 'two'], 'removeNode'],
    [['token', 'revoke', '4f5c0e91'], 'revokeToken'],
  ] as const) {
    const done = await runCli(socket, [...command, '--operator-key', file, '--json']);
    t.equal(done.code, 0, done.stderr);
    t.match(backend.calls.at(-1), { method, args: [String, { operatorKey }] });
  }
  await runCli(socket, ['token', 'create', '--operator-key', file]);
  t.same(backend.calls.at(-1)?.args, [{ operatorKey }]);
  await writeFile(file, 'nonsense that is no key');
  const bad = await runCli(socket, ['node', 'revoke', 'two', '--operator-key', file]);
  t.equal(bad.code, 2);
  t.match(bad.stderr, /this is no key/);
  t.notMatch(bad.stderr, 'nonsense');
  t.equal((await runCli(socket, ['node', 'revoke', 'two', '--operator-key', '/nonexistent'])).code, 2);
});

t.test('grant ls tells who may do what, and by whose word', async (t) => {
  const { socket, backend } = await apiFixture(t);
  t.match(
    (await runCli(socket, ['grant', 'ls'])).stdout,
    /^ID .*\n888888888888 +two +member,worker +token 4f5c0e91a2b3 +valid +never +2023-11-14T22:13:20Z\n$/,
  );
  t.equal((await runCli(socket, ['grant', 'ls', '--all', '-q'])).stdout, `${'8'.repeat(64)}\n`);
  t.same(backend.calls.at(-1)?.args, [{ all: true }]);
  t.match(json((await runCli(socket, ['grant', 'ls', '--json'])).stdout), [{ subjectName: 'two' }]);
});

t.test('cluster info shows the cluster, and what it refuses, on lines of their own', async (t) => {
  const { socket } = await apiFixture(t);
  const { stdout } = await runCli(socket, ['cluster', 'info']);
  t.match(stdout, /^cluster {4}shop \(f{64}\)$/m);
  t.match(stdout, /^operators {2}operator Op9999; any one decides$/m);
  t.match(stdout, /^collected {2}deletions up to 2023-11-14T22:13:20Z$/m);
  t.match(stdout, /^in doubt {3}this disk may hold what was deleted: /m);
  t.match(stdout, /^refused {4}old, by operator Op9999, 2023-11-14T22:13:20Z: stolen\?\[2J$/m);
  t.match(stdout, /^refused {4}3 more are not shown: /m);
  t.match(stdout, /^flagged {4}two: its key was used twice \(seen by one\): stop the copy, or revoke it$/m);
  t.match(stdout, /^member +3 +1 +0 +2\.0 KiB$/m);
  t.equal((await runCli(socket, ['cluster', 'info', '-q'])).stdout, `${'f'.repeat(64)}\n`);
  t.match(json((await runCli(socket, ['cluster', 'info', '--json'])).stdout), { name: 'shop', peers: 1 });
});

t.test('cluster history tells who changed what, and goes on as more comes', async (t) => {
  const { socket, backend } = await apiFixture(t);
  const args = [
    'cluster',
    'history',
    '--since',
    '2023-11-14T00:00Z',
    '--key',
    'web',
    '--by',
    'one',
    '-n',
    '9',
  ];
  const { stdout } = await runCli(socket, args);
  t.match(
    stdout,
    /^WHEN .*\n2023-11-14T22:13:20Z +one +workload\/default\/web +updated +replicas 2 -> 3 \(concurrent with 1 other\)\n/,
  );
  t.match(
    stdout,
    /^2023-11-13T22:13:20Z .*default\/old +updated +replicas 2 -> 3 \(void\) \(seen 2023-11-14T22:13:20Z\)\n.*stolen \(without effect\)\n$/m,
    'what does not count, and what came here at another time than it says',
  );
  t.match(stdout, /one +intent\/two +updated +active -> draining\n/, 'a node by its name');
  t.same(backend.calls.at(-1)?.args, [
    { since_ms: Date.parse('2023-11-14T00:00Z'), key: 'web', by: 'one', limit: 9 },
  ]);
  t.equal(
    (await runCli(socket, ['cluster', 'history', '-q'])).stdout,
    'workload/default/web\nintent/two\nimage/bbbbbbbbbbbb\nworkload/default/old\nrevoke/two\n',
  );
  t.match(json((await runCli(socket, ['cluster', 'history', '--json'])).stdout), [
    { generation: 2 },
    {},
    {},
    {},
    {},
  ]);
  const lost_ms = Date.parse('2023-11-14T12:00Z');
  const status = backend.status.bind(backend);
  backend.status = async () => ({ ...(await status()), historyLost_ms: lost_ms });
  for (const since of ['2023-11-14T11:00Z', '2023-11-14T12:00Z']) {
    const { stdout: listed, stderr } = await runCli(socket, [
      'cluster',
      'history',
      '--since',
      since,
      '--json',
    ]);
    t.equal((json(listed) as unknown[]).length, 5);
    t.equal(
      /^This host has lost lines of before 2023-11-14T12:00:00Z/.test(stderr),
      since.includes('11:00'),
      since,
    );
  }
  for (const extra of [[], ['--json'], ['-q']]) {
    const followed = await runCli(socket, ['cluster', 'history', '-f', ...extra], {
      onOutput: (text, interrupt) => text.split('\n').length > 7 && interrupt(),
    });
    t.equal(followed.code, 0);
    t.match(followed.stdout, extra.length === 0 ? /and more/ : /workload/);
  }
});
