/**
 * A mesh in a process of its own, for tests that kill or stop it. The first line of stdin says how it is to be, in
 * JSON; the first line of stdout is its id and addresses. It closes its mesh when stdin ends, and then has to exit
 * by itself.
 */
import { createInterface } from 'node:readline';
import { createLibp2pMesh } from '../../../protocols/mesh/libp2p-mesh.ts';

const input = createInterface({ input: process.stdin });
const first = Promise.withResolvers<string>();
const ended = Promise.withResolvers<void>();
input.once('line', first.resolve);
input.once('close', ended.resolve);

const { seed, cluster } = JSON.parse(await first.promise) as { seed: string; cluster: string };
const mesh = await createLibp2pMesh({
  seed: Buffer.from(seed, 'hex'),
  cluster,
  listen: ['/ip4/127.0.0.1/tcp/0'],
  isMember: () => true,
  mdns: false,
  log: () => undefined,
});
mesh.handle('echo', async (_from, body) => body);
mesh.handlePublished((_from, body) => {
  void mesh.publish(Buffer.concat([Buffer.from('heard '), body]));
  return 'ignore';
});
process.stdout.write(`${JSON.stringify({ self: mesh.self, addresses: mesh.addresses() })}\n`);
await ended.promise;
await mesh[Symbol.asyncDispose]();
