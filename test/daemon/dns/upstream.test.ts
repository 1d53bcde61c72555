import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { followSystemServers, SERVERS_MAX, systemServers } from '../../../daemon/dns/upstream.ts';

t.test('servers come from resolv.conf, addresses only and as many as it allows', async (t) => {
  const path = join(t.testdir(), 'resolv.conf');
  const lines = [
    '# nameserver 192.0.2.9',
    'search x',
    'nameserver 192.0.2.1',
    'nameserver fe80::1%eth0',
    'nameserver name',
  ];
  writeFileSync(path, [...lines, ' nameserver\tfd00::1 # last'].join('\n'));
  t.same(systemServers(path), [
    { address: '192.0.2.1', port: 53 },
    { address: 'fd00::1', port: 53 },
  ]);
  writeFileSync(path, Array<string>(9).fill('nameserver 192.0.2.1').join('\n'));
  t.equal(systemServers(path).length, SERVERS_MAX);
  t.same(systemServers(join(path, 'none')), []);
});

t.test('servers that the host gets later are found', async (t) => {
  const path = join(t.testdir(), 'resolv.conf');
  let now = 1_000_000;
  const servers = followSystemServers(() => now, path);
  t.same(servers(), []);
  writeFileSync(path, 'nameserver 192.0.2.1\n');
  now += 6_000;
  t.same(servers(), [{ address: '192.0.2.1', port: 53 }]);
  writeFileSync(path, 'nameserver 192.0.2.2\n');
  now -= 3_600_000;
  t.same(servers(), [{ address: '192.0.2.2', port: 53 }], 'also where the clock was set back');
});
