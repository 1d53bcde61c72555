import { MemoryCluster, running, IMAGE } from './memory-cluster.ts';
import { eventually } from './eventually.ts';
const td: any[] = [];
for (let i = 0; i < 4; i++) {
const cluster = await MemoryCluster.create({ teardown: (f: any) => td.push(f) } as any);
const [a, b, c] = await cluster.grow('a', 'b', 'c');
await b!.backend.run({ name: 'web', image: IMAGE, replicas: 2 });
const show = async () => (await running(a!.backend, 'web')).map((x) => x.slot + '@' + x.nodeName + ' ' + x.attempt);
await eventually('2', async () => (await show()).length === 2); console.log(await show());
await c!.backend.scale({ namespace: 'default', name: 'web' }, 3);
await eventually('3', async () => (await show()).length === 3); console.log(await show());
await new Promise((r) => setTimeout(r, 2000)); console.log('later', await show());
for (const n of ['a', 'b', 'c']) await cluster.stop(n);
}
for (const f of td) await f();
