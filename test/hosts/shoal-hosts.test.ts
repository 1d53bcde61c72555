import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { readCgroupMounts } from '../../daemon/runtime/cgroup.ts';
import { ShoalHosts, whyNot } from './shoal-hosts.ts';
import { NotYet, until } from './until.ts';

t.setTimeout(180_000);
const skip = await whyNot();

/** Runs a container on a host, says where its things are, and stays. */
const HOLDER = `
  const { ShoalHosts } = await import(${JSON.stringify(new URL('./shoal-hosts.ts', import.meta.url).href)});
  const hosts = await ShoalHosts.create(1);
  await hosts.startDaemons([1]);
  await hosts.form();
  await hosts.buildImage(1, 'box:1');
  await hosts.host(1).api.run({ name: 'box', image: 'box:1', command: ['sleep', '77777'] });
  await hosts.settled('box', 1, [1]);
  console.log(JSON.stringify({ directory: hosts.host(1).directory, remains: hosts.remains() }));
  setInterval(() => {}, 1000);
`;

/** Of a list of what remains, what is still there. */
function stillThere(remains: readonly string[]): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  const cgroups = readCgroupMounts().all;
  const isThere: Record<string, (name: string) => boolean> = {
    process: (text) => existsSync(`/proc/${Number.parseInt(text, 10)}/exe`),
    mount: (target) => mounts.includes(` ${target} `),
    'network namespace': (name) => existsSync(`/run/netns/${name}`),
    cgroup: (name) => cgroups.some((mount) => existsSync(`${mount}${name}`)),
    directory: (directory) => existsSync(directory),
  };
  return remains.filter((line) => {
    const kind = Object.keys(isThere).find((one) => line.startsWith(`${one} `))!;
    return isThere[kind]!(line.slice(kind.length + 1));
  });
}

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  t.test(
    `hosts of a run that gets ${signal} are taken away, by itself or by the next run`,
    { skip },
    async (t) => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', HOLDER], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
      const { directory, remains } = JSON.parse(String(line)) as { directory: string; remains: string[] };
      for (const kind of ['process', 'mount', 'network namespace', 'cgroup', 'directory'])
        t.ok(
          remains.some((one) => one.startsWith(kind)),
          `there is a ${kind}`,
        );
      const closed = once(child, 'close');
      child.kill(signal);
      t.same(await closed, [null, signal]);
      if (signal === 'SIGKILL') {
        t.ok(existsSync(directory));
        await (await ShoalHosts.create(1))[Symbol.asyncDispose]();
      }
      await until('nothing is left', async () => {
        const left = stillThere(remains);
        return left.length === 0 || new NotYet(left.join('\n'));
      });
    },
  );
}
