/** Real daemons on a disk that fills up: refused by name, a member like any other, and whole again with space. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { askDns } from './ask.ts';
import { type ShoalHosts, whyNot, withHosts } from './shoal-hosts.ts';
import { NotYet, until } from './until.ts';

t.setTimeout(300_000);
const skip = await whyNot();
const HOSTS = [1, 2, 3];
const QUICK = {
  image: 'box:1',
  command: ['sleep', '77777'],
  resources: { cpu_millis: 20, memory_bytes: 16 << 20 },
  stop_grace_ms: 200,
};
const on = (host: string) => ({ ...QUICK, constraints: { name: host } });

/** A file that takes all there is. */
function fill(file: string): void {
  const handle = openSync(file, 'w');
  try {
    for (const bytes of [1 << 20, 4096, 1]) {
      const chunk = Buffer.alloc(bytes, 1);
      try {
        for (;;) writeSync(handle, chunk);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
  } finally {
    closeSync(handle);
  }
}

async function statusOf(hosts: ShoalHosts, from: number, name: string): Promise<string | undefined> {
  return (await hosts.host(from).api.nodes()).find((node) => node.name === name)?.status;
}

t.test('a host whose disk is full refuses writes, and is a member like any other', { skip }, async (t) => {
  await withHosts(t, 3, async (hosts) => {
    const data = path.join(hosts.host(2).directory, 'data');
    mkdirSync(data, { mode: 0o700 });
    const mount = ['-t', 'tmpfs', '-o', 'size=24m,mode=0700', 'shoal-test', data];
    t.equal(spawnSync('mount', mount).status, 0, 'a small disk');
    await hosts.startDaemons(HOSTS);
    await hosts.form();
    await hosts.buildImage(1, 'box:1');
    await hosts.host(1).api.run({ ...on('host1'), name: 'early' });
    await hosts.settled('early', 1, HOSTS);
    const full = hosts.host(2).api;
    const ballast = path.join(data, 'ballast');
    fill(ballast);

    await until('a write at the full host is refused by name', async () => {
      try {
        await full.setIntent('host2', 'active');
        return new NotYet('it was taken');
      } catch (error) {
        return (error as { code?: string }).code === 'E_DISK_FULL' || new NotYet(String(error));
      }
    });
    await t.rejects(full.run({ ...on('host1'), name: 'never' }), {
      code: 'E_DISK_FULL',
      message: /nothing was changed/,
    });
    t.match((await hosts.shoal(2, ['status'])).stdout, /problem.*E_DISK_FULL/);

    await t.test('what others write is seen and answered there', async () => {
      await hosts.host(1).api.run({ ...on('host3'), name: 'late' });
      await hosts.settled('late', 1, HOSTS);
      for (const name of ['early', 'late']) {
        await until(`DNS of the full host answers ${name}`, async () => {
          const { addresses } = await askDns(hosts, 2, `${name}.default.internal`, 'udp');
          return addresses.length === 1 || new NotYet(JSON.stringify(addresses));
        });
      }
    });

    await t.test('it notices a death and a return, and nobody holds it for dead', async (t) => {
      await hosts.endDaemon(3, 'SIGKILL');
      await until(
        'the full host holds host3 as failed',
        async () => (await statusOf(hosts, 2, 'host3')) === 'failed',
      );
      t.equal(await statusOf(hosts, 1, 'host2'), 'alive');
      await hosts.startDaemons([3]);
      await hosts.allAlive();
    });

    await t.test('it starts on a full disk', async () => {
      await hosts.endDaemon(2, 'SIGKILL');
      await hosts.startDaemons([2]);
      await hosts.allAlive();
      await hosts.settled('late', 1, HOSTS);
    });

    await t.test('it takes writes again when there is space', async (t) => {
      rmSync(ballast);
      await until('a write is taken', async () => {
        await full.run({ ...on('host1'), name: 'after' });
        return true;
      });
      await hosts.settled('after', 1, HOSTS);
      await hosts.agree();
      t.same((await full.status()).problems, []);
      t.notOk(
        (await full.workloads()).some(({ name }) => name === 'never'),
        'what was refused was not done',
      );
      await hosts.endDaemon(2, 'SIGKILL');
      await hosts.startDaemons([2]);
      await hosts.allAlive();
      await hosts.agree();
    });
  });
});
