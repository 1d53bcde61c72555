/** Trust as its owner uses it, on real hosts with the command line only: a stolen host, a stolen operator's key. */
import path from 'node:path';
import t from 'tap';
import type { RevocationPlan } from '../../daemon/api/trust-schemas.ts';
import { type ShoalHosts, whyNot, withHosts } from './shoal-hosts.ts';
import { NotYet, until } from './until.ts';

t.setTimeout(300_000);
const skip = await whyNot();

async function output(
  hosts: ShoalHosts,
  number: number,
  argv: readonly string[],
  input = '',
): Promise<string> {
  const { code, stdout, stderr } = await hosts.shoal(number, argv, input);
  if (code !== 0) throw new Error(`shoal ${argv.join(' ')} on host${number} ended with ${code}: ${stderr}`);
  return stdout.trim();
}

/** Until these hosts list just these members. */
async function members(
  hosts: ShoalHosts,
  numbers: readonly number[],
  names: readonly string[],
): Promise<void> {
  for (const number of numbers) {
    await until(`host${number} has the members ${names.join(', ')}`, async () => {
      const found = (await hosts.host(number).api.nodes()).map(({ name }) => name).sort();
      return found.join() === names.join() || new NotYet(found.join());
    });
  }
}

t.test('a host and an operator’s key are stolen', { skip }, async (t) => {
  await withHosts(t, 4, async (hosts) => {
    const [first, second] = ['first', 'second'].map((name) =>
      path.join(hosts.host(1).directory, `${name}.key`),
    );
    await hosts.startDaemons([1, 2, 3, 4]);
    const keys = ['--recovery-key', first!, '--recovery-key', second!];
    await output(hosts, 1, ['init', ...keys, '--threshold', '2']);
    const operators = (await output(hosts, 1, ['operator', 'ls', '--quiet'])).split('\n');
    t.equal(operators.length, 3, 'two in the drawer and one on the first host');

    const roles = ['member', 'worker', 'deployer', 'admitter'].flatMap((role) => ['--role', role]);
    await output(hosts, 2, ['join'], await output(hosts, 1, ['token', 'create', ...roles]));
    await output(hosts, 3, ['join'], await output(hosts, 1, ['token', 'create']));
    const lost = await output(hosts, 2, ['token', 'create', '--uses', '2']);
    await output(hosts, 4, ['join'], lost);
    await hosts.allAlive();

    await t.test('what would go is told, and just that goes, also where it was not heard', async (t) => {
      hosts.net.isolate(3);
      await until('host3 is alone', async () =>
        (await hosts.host(3).api.nodes()).every(({ self, status }) => self || status !== 'alive'),
      );
      const revoke = ['node', 'revoke', 'host2', '--reason', 'stolen', '--descendants'];
      const unasked = await hosts.shoal(1, revoke);
      t.match([unasked.code, unasked.stderr], [2, /E_UNCONFIRMED/], unasked.stderr);
      await members(hosts, [1], ['host1', 'host2', 'host3', 'host4']);

      const told: RevocationPlan = JSON.parse(await output(hosts, 1, [...revoke, '--dry-run', '--json']));
      t.same(told.nodes.ends.map(({ name }) => name).sort(), ['host2', 'host4']);
      await output(hosts, 1, [...revoke, '--yes']);
      await members(hosts, [1], ['host1', 'host3']);
      for (const number of [2, 4])
        await until(`host${number} knows that it is out`, async () => {
          const standing = (await hosts.shoal(number, ['status'])).stdout;
          return /^standing +(?:revoked|evicted)/m.test(standing) || new NotYet(standing);
        });
      for (const argv of [
        ['token', 'create'],
        ['node', 'rm', '--force', 'host1'],
      ]) {
        const { code, stderr } = await hosts.shoal(2, argv);
        t.match([code, stderr], [5, /E_NOT_ALLOWED/], stderr);
      }
      hosts.net.rejoin(3);
      await members(hosts, [1, 3], ['host1', 'host3']);
      await hosts.allAlive([1, 3]);
    });

    await t.test('one vote about an operator is not enough, two are', async (t) => {
      const kept = operators[2]!;
      const against = (key: string) => [
        'operator',
        'revoke',
        kept,
        '--reason',
        'was on host2 too',
        '--yes',
        '--operator-key',
        key,
      ];
      const vote = await hosts.shoal(1, against(first!));
      t.match([vote.code, vote.stderr], [0, /vote 1 of 2/], vote.stderr);
      // The thief's votes: against the owner's keys, alone.
      const thief = await hosts.shoal(1, ['operator', 'revoke', operators[0]!, '--yes']);
      t.notMatch(thief.stderr, /refused from now on/, thief.stderr);
      t.equal(await output(hosts, 3, ['operator', 'ls', '--quiet']), operators.join('\n'));

      const decisive = await hosts.shoal(1, against(second!));
      t.match([decisive.code, decisive.stderr], [0, /refused from now on/], decisive.stderr);
      await until('host3 knows two operators', async () => {
        const inForce = await output(hosts, 3, ['operator', 'ls', '--quiet']);
        return inForce === operators.slice(0, 2).join('\n') || new NotYet(inForce);
      });
      const late = await hosts.shoal(1, ['operator', 'revoke', operators[1]!, '--yes']);
      t.match([late.code, late.stderr], [5, /E_NOT_ALLOWED/], 'its word counts no more');
    });

    await t.test('the history tells who did it', async (t) => {
      const history = await output(hosts, 3, ['cluster', 'history', '--kind', 'revoke']);
      t.match(history, /stolen/);
      t.match(history, /was on host2 too/);
    });

    await t.test('the restarted cluster holds all of it', async () => {
      await hosts.endDaemon(3, 'SIGKILL');
      await hosts.endDaemon(1, 'SIGKILL');
      await hosts.startDaemons([1, 3]);
      await members(hosts, [1, 3], ['host1', 'host3']);
      await hosts.allAlive([1, 3]);
    });
  });
});
