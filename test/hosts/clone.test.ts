/** A disk that is cloned while its daemon runs, and started on another host: everybody is told, and nobody else suffers. */
import { cpSync, rmSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { type ShoalHosts, whyNot, withHosts } from './shoal-hosts.ts';
import { NotYet, until } from './until.ts';

const skip = await whyNot();
const MEMBERS = [1, 2, 3];
const ORIGINAL = 2;
const CLONE = 4;
/** How long the others are looked at once all know. */
const LOOKED_MS = 8_000;
const LOOK_MS = 100;

async function problemsOf(hosts: ShoalHosts, number: number): Promise<string[]> {
  const { problems } = await hosts.host(number).api.status();
  return problems.map(({ kind, message }) => `${kind} ${message}`);
}

/** Looks at how hosts 1 and 3 hold one another and host 2, again and again. @returns the times that one was failed. */
async function failures(hosts: ShoalHosts, isOver: () => boolean): Promise<string[]> {
  const seen: string[] = [];
  while (!isOver()) {
    for (const number of [1, 3]) {
      const nodes = await hosts.host(number).api.nodes();
      for (const { name, status } of nodes)
        if (status === 'failed') seen.push(`host${number} holds ${name} as failed`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return seen;
}

/** The devices of the old key go, as in a restart of the host. */
async function restartKernel(hosts: ShoalHosts, number: number): Promise<void> {
  const { stdout } = await hosts.net.exec(number, ['ip', '-o', 'link', 'show']);
  const devices = stdout.match(/\bsh[bx][0-9a-z]{6}\b(?=[:@])/g) ?? [];
  for (const device of devices) await hosts.net.exec(number, ['ip', 'link', 'del', device]);
}

t.test('two daemons with one key are named everywhere, and the others stay well', { skip }, async (t) => {
  await withHosts(t, 4, async (hosts) => {
    await hosts.startDaemons(MEMBERS);
    await hosts.form(MEMBERS);
    const data = (number: number) => path.join(hosts.host(number).directory, 'data');
    cpSync(data(ORIGINAL), data(CLONE), { recursive: true });
    let isOver = false;
    const looked = failures(hosts, () => isOver);
    const ended = Promise.allSettled([looked]);
    try {
      await hosts.startDaemons([CLONE], ['--name', 'host2']);
      t.equal(hosts.host(CLONE).node, hosts.host(ORIGINAL).node);
      const addresses = [ORIGINAL, CLONE].map((number) => hosts.host(number).api.status());
      const places = (await Promise.all(addresses)).map(({ addresses }) =>
        addresses[0]!.replace(/\/p2p\/.*/, ''),
      );
      for (const number of [...MEMBERS, CLONE]) {
        await until(`host${number} says where both are`, async () => {
          const problems = await problemsOf(hosts, number);
          const isTold = problems.some(
            (text) =>
              text.startsWith('copied-key E_KEY_COPIED: ') && places.every((place) => text.includes(place)),
          );
          return isTold || new NotYet(problems.join('\n'));
        });
      }
      await new Promise((resolve) => setTimeout(resolve, LOOKED_MS));
    } finally {
      isOver = true;
      await ended;
    }
    t.same(await looked, []);

    // As the documents say: one is stopped, and comes back with a key of its own.
    await hosts.endDaemon(CLONE, 'SIGTERM');
    rmSync(data(CLONE), { recursive: true });
    await restartKernel(hosts, CLONE);
    await hosts.startDaemons([CLONE]);
    const { token } = await hosts.host(1).api.createToken({});
    await hosts.host(CLONE).api.join({ token });
    await hosts.allAlive();
    await hosts.endDaemon(ORIGINAL, 'SIGTERM');
    await hosts.startDaemons([ORIGINAL]);
    await hosts.allAlive();
    for (const number of hosts.all.map((host) => host.number))
      await until(`host${number} has no such problem any more`, async () => {
        const problems = await problemsOf(hosts, number);
        return problems.length === 0 || new NotYet(problems.join('\n'));
      });
  });
});
