/** A Network whose calls are carried out by `network-agent.ts` on a test host. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Attachment, Network } from '../../daemon/network/network.ts';
import type { TestHosts } from './harness.ts';

const AGENT = fileURLToPath(new URL('./network-agent.ts', import.meta.url));

export interface RemoteNetwork extends Network {
  warnings(): Promise<string[]>;
}

export function remoteNetwork(
  hosts: TestHosts,
  host: number,
  { instance, range }: { instance: string; range: string },
): RemoteNetwork {
  const argv = [process.execPath, AGENT, instance, hosts.address(host), range];
  const child = hosts.spawn(host, argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  let tail: Promise<unknown> = Promise.resolve();
  let gateway: string | null = null;
  const call = <T>(method: string, argument: unknown = null): Promise<T> => {
    const result = tail.then(async () => {
      child.stdin!.write(`${JSON.stringify([method, argument])}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`the agent ended during ${method}`);
      const answer = JSON.parse(value) as { result: T; error?: string };
      if (answer.error !== undefined) throw new Error(answer.error);
      return answer.result;
    });
    tail = result.catch(() => {});
    return result;
  };
  return {
    kind: 'vxlan',
    get gateway() {
      return gateway;
    },
    start: async (subnet) => {
      await call('start', subnet);
      gateway = await call<string | null>('gateway');
    },
    attach: (container) => call<Attachment>('attach', container),
    detach: (container) => call('detach', container),
    sweep: (keep) => call('sweep', [...keep]),
    setPeers: (peers) => call('setPeers', peers),
    setHost: (address) => call('setHost', address),
    teardown: () => call('teardown'),
    warnings: () => call('warnings'),
    [Symbol.asyncDispose]: async () => {
      await tail;
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.stdin!.end();
      await once(child, 'close');
    },
  };
}
