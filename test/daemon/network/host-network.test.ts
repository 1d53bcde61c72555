import t from 'tap';
import { createHostNetwork } from '../../../daemon/network/host-network.ts';
import { networkConformance } from '../../conformance/network.ts';

t.test('host-network conforms', (t) =>
  networkConformance(t, { make: () => createHostNetwork({ host: '192.0.2.1' }), subnet: null }),
);
