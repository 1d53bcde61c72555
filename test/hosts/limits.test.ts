import t from 'tap';
import type { AllocationInfo, WatchEvent } from '../../daemon/api/schemas.ts';
import { type ShoalHosts, whyNot, withHosts } from './shoal-hosts.ts';
import { NotYet, until } from './until.ts';

t.setTimeout(300_000);
const skip = await whyNot();
const HOSTS = [1, 2, 3];
const MEBI = 1 << 20;

function sleeper(name: string, replicas: number, cpu_millis: number) {
  const resources = { cpu_millis, memory_bytes: 16 * MEBI };
  return { name, image: 'box:1', replicas, command: ['sleep', '77777'], resources, stop_grace_ms: 200 };
}

/** The first state of a workload that a watch on host 3 shows and `is` accepts. */
async function watched(
  hosts: ShoalHosts,
  name: string,
  is: (event: WatchEvent) => boolean,
): Promise<WatchEvent> {
  const signal = AbortSignal.timeout(45_000);
  for await (const event of hosts.host(3).api.watch({ namespace: 'default', name }, { signal })) {
    if (is(event)) return event;
  }
  throw new Error('the watch ended');
}

function running(list: readonly AllocationInfo[]): AllocationInfo[] {
  return list.filter(({ phase }) => phase === 'running');
}

t.test('what a workload may have, and what a host has', { skip }, async (t) => {
  await withHosts(t, 3, async (hosts) => {
    const { api } = hosts.host(1);
    await hosts.startDaemons(HOSTS, ['--capacity-cpu', '1', '--capacity-memory', '256Mi']);
    await hosts.form();
    await hosts.buildImage(1, 'box:1');

    await t.test('what no node could ever run is refused with exit code 8', async (t) => {
      for (const flags of [
        ['--cpu', '1.5'],
        ['--memory', '300Mi'],
        ['--constraint', 'zone=moon'],
      ]) {
        const { code, stderr } = await hosts.shoal(2, ['run', 'big', 'box:1', ...flags]);
        t.same([code, stderr.includes('E_UNSATISFIABLE')], [8, true], `${flags.join(' ')}: ${stderr.trim()}`);
      }
      t.same(await api.workloads(), [], 'nothing was changed');
    });

    await t.test('a container that takes too much memory is killed, and ps says why', async (t) => {
      const command = ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=96M', 'count=1'];
      await api.run({ ...sleeper('hog', 1, 100), command, restart: 'never' });
      const [hog] = await until('host3 knows how it ended', async () => {
        const list = await hosts.host(3).api.allocations({ workload: 'hog', all: true });
        return list.length === 1 && list[0]!.phase === 'failed' ? list : new NotYet(JSON.stringify(list));
      });
      t.match(hog!.reason, /out of memory/);
      t.match((await hosts.shoal(3, ['ps', '-a', 'hog'])).stdout, /out of memory/);
      await api.remove({ namespace: 'default', name: 'hog' });
    });

    await t.test('a container has the processor time that it asked for', async (t) => {
      await api.run({ ...sleeper('part', 1, 250) });
      await hosts.settled('part', 1, [2]);
      const v1 = 'cd /sys/fs/cgroup/cpu && cat cpu.cfs_quota_us cpu.cfs_period_us';
      const script = `${v1} 2>/dev/null || cat /sys/fs/cgroup/cpu.max`;
      const { stdout } = await hosts.shoal(2, ['exec', '--no-stdin', 'part', '--', 'sh', '-c', script]);
      const [quota, period] = stdout.trim().split(/\s+/).map(Number);
      t.equal(quota! / period!, 0.25, stdout);
      await api.remove({ namespace: 'default', name: 'part' });
    });

    await t.test('full hosts take no more, and freed room is used', async (t) => {
      await until('what was removed is gone', async () =>
        (await api.nodes()).every(({ instances }) => instances === 0),
      );
      await api.run(sleeper('first', 1, 900));
      await hosts.settled('first', 1, HOSTS);
      await hosts.host(3).api.run(sleeper('fill', 6, 400));
      const full = await watched(
        hosts,
        'fill',
        ({ allocations, waiting }) => running(allocations).length === 4 && waiting.length === 2,
      );
      for (const { reasons } of full.waiting) {
        t.equal(reasons.length, 3, 'a reason of each host');
        t.match(reasons.join(), /cpu/i);
      }
      for (const number of HOSTS) {
        for (const { name, used, capacity } of await hosts.host(number).api.nodes())
          t.ok(used.cpu_millis <= capacity.cpu_millis, `${name} has ${used.cpu_millis} millicores in use`);
      }
      await api.remove({ namespace: 'default', name: 'first' });
      await hosts.settled('fill', 6, HOSTS);
      for (const { name, used } of await api.nodes()) t.equal(used.cpu_millis, 800, name);
    });
  });
});
