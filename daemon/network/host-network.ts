/**
 * No network of its own: instances use the host's namespace and address, and tell themselves apart by their ports.
 * For hosts without root, and for the `process` driver.
 */
import type { Attachment, Network } from './network.ts';

export interface HostNetworkInit {
  /** The address at which other hosts reach this one, to begin with. */
  readonly host: string;
}

export function createHostNetwork({ host }: HostNetworkInit): Network {
  let attachment: Attachment = { netns: null, address: host, resolver: null };
  return {
    kind: 'host',
    gateway: null,
    start: async () => {},
    attach: async () => attachment,
    detach: async () => {},
    sweep: async () => {},
    setPeers: async () => {},
    setHost: async (address) => {
      const isOther = attachment.address !== address;
      attachment = { ...attachment, address };
      return isOther;
    },
    teardown: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}
