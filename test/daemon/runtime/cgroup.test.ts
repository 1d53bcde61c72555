import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import {
  cgroupOomKills,
  cgroupStats,
  parseCgroupMounts,
  removeCgroup,
} from '../../../daemon/runtime/cgroup.ts';

const line = (target: string, type: string, options: string): string =>
  `30 24 0:26 / ${target} rw,nosuid shared:9 - ${type} ${type} ${options}`;

t.test('hosts of v1, v2 and both are told apart', async (t) => {
  const v1 = [line('/c/cpu', 'cgroup', 'rw,cpu,cpuacct'), line('/c/memory', 'cgroup', 'rw,memory')];
  const named = line('/c/systemd', 'cgroup', 'rw,name=systemd');
  const v2 = line('/c/unified', 'cgroup2', 'rw,nsdelegate');
  const hybrid = parseCgroupMounts([...v1, named, v2, line('/tmp', 'tmpfs', 'rw'), ''].join('\n'));
  t.same(
    [...hybrid.v1],
    [
      ['cpu', '/c/cpu'],
      ['cpuacct', '/c/cpu'],
      ['memory', '/c/memory'],
    ],
  );
  t.equal(hybrid.v2, '/c/unified');
  t.same(hybrid.all, ['/c/cpu', '/c/memory', '/c/systemd', '/c/unified']);
  t.match(parseCgroupMounts(v2), { v2: '/c/unified', all: ['/c/unified'] });
  t.equal(parseCgroupMounts(v1.join('\n')).v2, null);
});

t.test('v2 figures are read from its own files', async (t) => {
  const mount = t.testdir({
    a: {
      'cpu.stat': 'usage_usec 1500\nuser_usec 1000\n',
      'memory.current': '5000\n',
      'memory.stat': 'anon 1\ninactive_file 1000\n',
      'memory.events': 'low 0\noom 1\noom_kill 2\n',
      'pids.current': '3\n',
    },
  });
  const mounts = parseCgroupMounts(line(mount, 'cgroup2', 'rw'));
  t.same(cgroupStats(mounts, '/a'), { cpu_ns: 1_500_000, memory_bytes: 4000, pids: 3 });
  t.equal(cgroupOomKills(mounts, '/a'), 2);
  t.equal(cgroupStats(mounts, '/none'), null);
  t.equal(cgroupOomKills(mounts, '/none'), 0);
});

t.test('only an empty cgroup is removed', async (t) => {
  const mount = t.testdir({});
  mkdirSync(path.join(mount, 'a'));
  writeFileSync(path.join(mount, 'a/file'), '');
  mkdirSync(path.join(mount, 'b'));
  const mounts = parseCgroupMounts(line(mount, 'cgroup2', 'rw'));
  t.equal(removeCgroup(mounts, '/a'), false);
  t.equal(removeCgroup(mounts, '/b'), true);
  t.equal(removeCgroup(mounts, '/b'), true, 'one that is not there is fine');
});
