import { randomBytes } from 'node:crypto';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import t from 'tap';
import {
  CappedDatastore,
  ENTRIES_MAX,
  KIND_BYTES_MAX,
  VALUE_BYTES_MAX,
} from '../../../protocols/mesh/capped-datastore.ts';

type Key = Parameters<CappedDatastore['put']>[0];

const SELF = 'self';
const VALUE = Uint8Array.of(1);

/** Names are all that the store looks at. */
function key(name: string): Key {
  return { toString: () => name } as Key;
}

async function newPeer() {
  const id = peerIdFromPrivateKey(await generateKeyPairFromSeed('Ed25519', randomBytes(32)));
  return { id: id.toString(), key: key(`/peers/${id.toCID()}`) };
}

function provider(blob: number | string, peer: string): Key {
  return key(`/dht/provider/${blob}/${peer}`);
}

t.test('what is put is there until it is deleted, and found by its prefix', async (t) => {
  const store = new CappedDatastore(SELF, () => true);
  const [a, b, other] = [provider('blob', 'a'), provider('blob', 'b'), provider('blob2', 'a')];
  const batch = store.batch();
  for (const each of [a, b, other]) batch.put(each, VALUE);
  t.notOk(store.has(a));
  await batch.commit();
  store.put(a, Uint8Array.of(2));
  t.same(store.get(a), Uint8Array.of(2));
  const under = (prefix: string) => [...store.queryKeys({ prefix })].map(String).sort();
  t.same(under('/dht/provider/blob'), [`${a}`, `${b}`]);
  t.same(under('/dht/provider/none'), []);
  t.same(under('/dht/provider'), [`${a}`, `${b}`, `${other}`]);
  const large = [...store.query({ filters: [({ value }) => value[0] === 2] })];
  t.same(large, [{ key: a, value: Uint8Array.of(2) }]);
  t.equal([...store.query({ offset: 1, limit: 1 })].length, 1);
  store.delete(a);
  t.throws(() => store.get(a), { name: 'NotFoundError' });
  t.same(under('/dht/provider/blob'), [`${b}`]);
});

t.test('announcements of others are so many, the oldest go, and our own stay', async (t) => {
  const store = new CappedDatastore(SELF, () => true);
  store.put(provider('mine', SELF), VALUE);
  const count = ENTRIES_MAX.provider + 10;
  for (let n = 0; n < count; n++) store.put(provider(n, 'a'), VALUE);
  t.equal([...store.queryKeys({})].length, ENTRIES_MAX.provider + 1);
  t.ok(store.has(provider('mine', SELF)));
  t.notOk(store.has(provider(9, 'a')));
  t.same([...store.queryKeys({ prefix: '/dht/provider/9' })], []);
  t.ok(store.has(provider(10, 'a')));
});

t.test('who announces most loses its own announcements, and nobody else theirs', async (t) => {
  const store = new CappedDatastore(SELF, () => true);
  const honest = [provider('blob', 'b'), provider('blob', 'c')];
  for (const each of honest) store.put(each, VALUE);
  for (let n = 0; n < ENTRIES_MAX.provider + 10; n++) store.put(provider(n, 'a'), VALUE);
  t.ok(honest.every((each) => store.has(each)));
  t.equal([...store.queryKeys({})].length, ENTRIES_MAX.provider);
  // Of what was deleted nothing is counted.
  for (let n = 0; n < ENTRIES_MAX.provider + 10; n++) store.delete(provider(n, 'a'));
  for (let n = 0; n < ENTRIES_MAX.provider; n++) store.put(provider(n, 'b'), VALUE);
  t.ok(store.has(provider('blob', 'c')));
  t.notOk(store.has(provider('blob', 'b')));
});

t.test('what this node says of itself stays, however much there is of others', async (t) => {
  const self = await newPeer();
  const store = new CappedDatastore(self.id, () => true);
  store.put(self.key, VALUE);
  const large = new Uint8Array(VALUE_BYTES_MAX);
  for (let n = 0; n < KIND_BYTES_MAX / VALUE_BYTES_MAX + 10; n++) store.put((await newPeer()).key, large);
  for (let n = 0; n < ENTRIES_MAX.own + 10; n++) store.put(provider(n, self.id), VALUE);
  t.same(store.get(self.key), VALUE);
});

t.test('strangers are so many, and push out no member', async (t) => {
  const members = new Set<string>();
  const store = new CappedDatastore(SELF, (peer) => members.has(peer));
  const member = await newPeer();
  members.add(member.id);
  store.put(member.key, VALUE);
  for (let n = 0; n < ENTRIES_MAX.stranger + 10; n++) store.put((await newPeer()).key, VALUE);
  t.ok(store.has(member.key));
  t.equal([...store.queryKeys({ prefix: '/peers/' })].length, ENTRIES_MAX.stranger + 1);
});

t.test('what is too large is not kept, and the sum of one kind is bounded', async (t) => {
  const store = new CappedDatastore(SELF, () => true);
  const one = provider('blob', 'a');
  store.put(one, VALUE);
  store.put(one, new Uint8Array(VALUE_BYTES_MAX + 1));
  t.same(store.get(one), VALUE);
  store.put(provider('x'.repeat(10_000), 'a'), VALUE);
  const most = Math.ceil(KIND_BYTES_MAX / VALUE_BYTES_MAX);
  const large = new Uint8Array(VALUE_BYTES_MAX);
  for (let n = 0; n < most + 10; n++) store.put(provider(n, 'a'), large);
  const kept = [...store.query({})].map(({ value }) => value.byteLength);
  t.ok(kept.length < most && kept.reduce((sum, bytes) => sum + bytes) <= KIND_BYTES_MAX, `${kept.length}`);
});
