import { writeFileSync } from 'node:fs';
import t from 'tap';
import { type ShoalHosts, whyNot, withHosts } from './shoal-hosts.ts';
import { NotYet, until } from './until.ts';

t.setTimeout(300_000);
const skip = await whyNot();
const HOSTS = [1, 2, 3];
const RESOURCES = { cpu_millis: 50, memory_bytes: 16 << 20 };
const QUICK = { image: 'box:1', resources: RESOURCES, stop_grace_ms: 200 };
const TICK = 'i=0; while true; do i=$((i+1)); echo "tick $i"; sleep 0.2; done';

/** Ends with this code once the file /go is there. */
function untilGo(code: number): string[] {
  return ['sh', '-c', `while [ ! -e /go ]; do sleep 0.1; done; exit ${code}`];
}

/** The one process of a container on a host whose command holds this text. It runs once told to, and executes that a moment later. */
async function containerPid(hosts: ShoalHosts, number: number, text: string): Promise<number> {
  return await until(`one process on host${number} holds "${text}"`, async () => {
    const found = hosts.containerPids(number, text);
    return found.length === 1 ? found[0] : new NotYet(`${found.length} processes`);
  });
}

async function ticks(hosts: ShoalHosts, from: number): Promise<number[]> {
  const seen: number[] = [];
  for await (const { text } of hosts.host(from).api.logs({ namespace: 'default', name: 'tick' }))
    seen.push(Number(/tick (\d+)/.exec(text)?.[1]));
  return seen;
}

function allPids(hosts: ShoalHosts, text: string): string[] {
  return HOSTS.flatMap((number) => hosts.containerPids(number, text).map((pid) => `host${number} ${pid}`));
}

t.test('containers outlive their daemons, and daemons find them again', { skip }, async (t) => {
  await withHosts(t, 3, async (hosts) => {
    const { api } = hosts.host(1);
    await hosts.startDaemons(HOSTS);
    await hosts.form();
    await hosts.buildImage(1, 'box:1');
    const onTwo = { ...QUICK, constraints: { name: 'host2' } };
    await api.run({ ...onTwo, name: 'tick', command: ['sh', '-c', TICK] });
    await api.run({ ...onTwo, name: 'never', restart: 'never', command: untilGo(3) });
    await api.run({ ...onTwo, name: 'on-failure', restart: 'on-failure', command: untilGo(0) });
    await api.run({ ...onTwo, name: 'gone', command: ['sleep', '88888'] });
    await api.run({ ...onTwo, name: 'newer', command: ['sleep', '66666'] });
    await api.run({ ...QUICK, name: 'web', replicas: 3, command: ['sleep', '77777'] });
    for (const [name, count] of [
      ['tick', 1],
      ['never', 1],
      ['on-failure', 1],
      ['gone', 1],
      ['newer', 1],
      ['web', 3],
    ] as const)
      await hosts.settled(name, count, HOSTS);

    await t.test('kill -9 of one daemon', async (t) => {
      const ticker = await containerPid(hosts, 2, 'tick');
      await hosts.endDaemon(2, 'SIGKILL');
      t.equal(await containerPid(hosts, 2, 'tick'), ticker, 'its container goes on');
      for (const text of ['exit 3', 'exit 0'])
        writeFileSync(`/proc/${await containerPid(hosts, 2, text)}/root/go`, '');
      for (const number of [1, 3]) {
        await until(`host${number} holds host2 as failed`, async () =>
          (await hosts.host(number).api.nodes()).some(
            ({ name, status }) => name === 'host2' && status === 'failed',
          ),
        );
      }
      const replaced = await hosts.settled('web', 3, [1, 3]);
      t.notOk(replaced.some(({ nodeName }) => nodeName === 'host2'));

      await api.remove({ namespace: 'default', name: 'gone' });
      await api.run({ ...onTwo, name: 'newer', command: ['sleep', '55555'] });
      t.equal(
        allPids(hosts, '88888').length + allPids(hosts, '66666').length,
        2,
        'nobody there to stop them',
      );

      await hosts.startDaemons([2]);
      await hosts.allAlive();
      await hosts.settled('tick', 1, HOSTS);
      t.equal(await containerPid(hosts, 2, 'tick'), ticker, 'the same process');
      await until('the log is whole and goes on', async () => {
        const seen = await ticks(hosts, 3);
        const isWhole = seen.every((tick, at) => tick === at + 1);
        if (!isWhole) t.fail('a line is missing or double', { seen });
        return seen.length > 40 || new NotYet(`${seen.length} lines`);
      });
      for (const [name, phase, exitCode] of [
        ['never', 'failed', 3],
        ['on-failure', 'stopped', 0],
      ] as const) {
        for (const number of HOSTS) {
          await until(`host${number} knows how ${name} ended`, async () => {
            const list = await hosts.host(number).api.allocations({ workload: name, all: true });
            const [one] = list;
            return (
              (list.length === 1 && one!.phase === phase && one!.exitCode === exitCode) ||
              new NotYet(JSON.stringify(list))
            );
          });
        }
      }
      await hosts.settled('web', 3, HOSTS);
      await hosts.settled('newer', 1, HOSTS);
      for (const [text, count] of [
        ['77777', 3],
        ['88888', 0],
        ['66666', 0],
        ['55555', 1],
      ] as const) {
        await until(`no second instance remains, nor what was removed or replaced: ${text}`, async () => {
          const pids = allPids(hosts, text);
          return pids.length === count || new NotYet(pids.join(', '));
        });
      }
      await hosts.agree();
    });

    await t.test('a container that is killed is started again where it was', async () => {
      const before = await containerPid(hosts, 2, '55555');
      process.kill(before, 'SIGKILL');
      const [again] = await until('it runs again', async () => {
        const list = await hosts.instances(3, 'newer');
        return list.length === 1 && list[0]!.restarts === 1 && list[0]!.phase === 'running'
          ? list
          : new NotYet(JSON.stringify(list));
      });
      t.equal(again!.nodeName, 'host2');
      t.not(await containerPid(hosts, 2, '55555'), before);
    });

    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      await t.test(`${signal} of all daemons at once`, async (t) => {
        const before = [...allPids(hosts, '77777'), ...allPids(hosts, 'tick')];
        await Promise.all(HOSTS.map((number) => hosts.endDaemon(number, signal)));
        t.same([...allPids(hosts, '77777'), ...allPids(hosts, 'tick')], before, 'containers go on');
        await hosts.startDaemons(HOSTS);
        await hosts.allAlive();
        await hosts.settled('web', 3, HOSTS);
        await hosts.settled('tick', 1, HOSTS);
        await hosts.agree();
        t.same([...allPids(hosts, '77777'), ...allPids(hosts, 'tick')], before, 'the same processes');
        t.same((await ticks(hosts, 1)).slice(0, 3), [1, 2, 3]);
      });
    }

    await t.test('kill -9 of everything on all hosts, as when the power fails', async () => {
      for (const number of HOSTS) hosts.killHost(number);
      await hosts.startDaemons(HOSTS);
      await hosts.allAlive();
      await hosts.settled('web', 3, HOSTS);
      await hosts.settled('tick', 1, HOSTS);
      await hosts.agree();
    });
  });
});
