import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { resolveInRoot } from '../../../daemon/runtime/rooted-path.ts';
import { lookUpUser } from '../../../daemon/runtime/user.ts';

t.test('a user is looked up as the image says', async (t) => {
  const root = t.testdir({
    etc: {
      passwd: 'root:x:0:0::/root:/bin/sh\nredis:x:101:102::/data:/bin/sh\n',
      group: 'redis:x:102:\naudio:x:29:other,redis\nvideo:x:44:redis\n',
    },
  });
  const redis = { uid: 101, gid: 102, additionalGids: [29, 44], home: '/data' };
  t.same(await lookUpUser(root, ''), { uid: 0, gid: 0, additionalGids: [], home: '/root' });
  t.same(await lookUpUser(root, 'redis'), redis);
  t.same(await lookUpUser(root, '101'), redis);
  t.same(await lookUpUser(root, 'redis:audio'), { ...redis, gid: 29, additionalGids: [] });
  t.same(await lookUpUser(root, '5:6'), { uid: 5, gid: 6, additionalGids: [], home: '/' });
  for (const user of ['none', 'redis:none', '-1', '4294967296'])
    await t.rejects(lookUpUser(root, user), { code: 'E_RUNTIME_FAILED' }, user);
  t.match(await lookUpUser(t.testdir({}), '7'), { uid: 7, gid: 0 }, 'an image may have no files');
});

t.test('links do not lead out of the root', async (t) => {
  const directory = t.testdir({ outside: 'secret', root: { etc: {}, in: { file: 'x' } } });
  const root = path.join(directory, 'root');
  symlinkSync('../../outside', path.join(root, 'etc/up'));
  symlinkSync('/in', path.join(root, 'etc/absolute'));
  symlinkSync('loop', path.join(root, 'loop'));
  t.equal(await resolveInRoot(root, '/etc/up'), null);
  t.equal(await resolveInRoot(root, '../../../in/file'), path.join(root, 'in/file'));
  t.equal(await resolveInRoot(root, 'etc/absolute/file'), path.join(root, 'in/file'));
  t.equal(await resolveInRoot(root, 'loop'), null);
  t.equal(await resolveInRoot(root, 'in/file/..'), null);
  mkdirSync(path.join(root, 'etc/hidden'));
  writeFileSync(path.join(directory, 'passwd'), 'root:x:0:0::/:/bin/sh\nevil:x:0:0::/:/bin/sh\n');
  symlinkSync('../../passwd', path.join(root, 'etc/passwd'));
  await t.rejects(lookUpUser(root, 'evil'), { code: 'E_RUNTIME_FAILED' });
});
