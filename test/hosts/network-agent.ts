/**
 * A vxlan-network in a process of its own, as the daemon has it, so that it acts in the test host's namespace.
 * Calls come as JSON lines on stdin, `[method, ...arguments]`; results go out as JSON lines. Ends with its input.
 * Arguments: instance, host address, range. `sweep` takes a list.
 */
import { createInterface } from 'node:readline';
import type { NetworkPeer } from '../../daemon/network/network.ts';
import { createVxlanNetwork } from '../../daemon/network/vxlan-network.ts';

const [instance = '', host = '', range = ''] = process.argv.slice(2);
const warnings: string[] = [];
const network = createVxlanNetwork({
  instance,
  host,
  range,
  log: (level, message, detail) => {
    if (level === 'warn') warnings.push(`${message} ${JSON.stringify(detail)}`);
  },
});

const methods: Record<string, (argument: never) => Promise<unknown>> = {
  start: (subnet: string) => network.start(subnet),
  attach: (container: string) => network.attach(container),
  detach: (container: string) => network.detach(container),
  sweep: (keep: string[]) => network.sweep(new Set(keep)),
  setPeers: (peers: NetworkPeer[]) => network.setPeers(peers),
  setHost: (address: string) => network.setHost(address),
  teardown: () => network.teardown(),
  gateway: async () => network.gateway,
  warnings: async () => warnings,
};

for await (const line of createInterface({ input: process.stdin })) {
  const [method, argument] = JSON.parse(line) as [string, never];
  const answer = await methods[method]!(argument).then(
    (result) => ({ result: result ?? null }),
    (error) => ({ error: String(error) }),
  );
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
