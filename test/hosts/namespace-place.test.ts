import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { namespacePlace } from '../../scripts/demo-parts/namespace-place.ts';
import { hostsAvailable, runPrefix, TestHosts } from './harness.ts';
import { NotYet, until } from './until.ts';

const available = hostsAvailable();
const skip = available === true ? false : available;

/** Until a process that nsenter becomes is in its namespace. */
async function isInside(child: ChildProcess, number: number): Promise<void> {
  await until('the process is in the namespace', async () => {
    const network = readlinkSync(`/proc/${child.pid}/ns/net`);
    return network === `net:[${number}]` || new NotYet(network);
  });
}

t.test(
  'a place that is gone holds nothing of a namespace that got the number of its own',
  { skip },
  async (t) => {
    const hosts = await TestHosts.create(1);
    const place = namespacePlace(hosts);
    const number = statSync(hosts.netns(1)).ino;
    const own = place.spawn(1, ['sleep', '600'], { stdio: 'ignore' });
    await isInside(own, number);
    t.equal(place.holds(1, '', own.pid!), true);
    t.equal(place.holds(0, '', own.pid!), false, 'host 0 is none: there only containers count');
    // Stands for the next one that the kernel gives the number: it is the same one, under another's name.
    const namesake = `/run/netns/${runPrefix()}-namesake`;
    writeFileSync(namesake, '');
    execFileSync('mount', ['--bind', hosts.netns(1), namesake]);
    t.teardown(() => execFileSync('ip', ['netns', 'del', path.basename(namesake)]));
    await place[Symbol.asyncDispose]();

    const other = spawn('nsenter', [`--net=${namesake}`, '--', 'sleep', '600'], {
      stdio: 'ignore',
    });
    const closed = once(other, 'close');
    await isInside(other, number);
    t.equal(place.holds(1, '', other.pid!), false);
    other.kill();
    await closed;
  },
);
