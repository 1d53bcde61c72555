/** Claims and releases of one slot in quick succession, and what is damaged: one instance is left, or none. */
import path from 'node:path';
import t, { type Test } from 'tap';
import Value from 'typebox/value';
import { systemClock } from '../../../daemon/clock.ts';
import { containerId, LABEL } from '../../../daemon/instances/container-plan.ts';
import { InstanceManager } from '../../../daemon/instances/instance-manager.ts';
import { silentLog } from '../../../daemon/log.ts';
import { createHostNetwork } from '../../../daemon/network/host-network.ts';
import { createMemoryRuntime, MemoryHost } from '../../../daemon/runtime/memory-runtime.ts';
import type { Runtime } from '../../../daemon/runtime/runtime.ts';
import type { Images } from '../../../images/images.ts';
import { ShoalError } from '../../../protocols/base/errors.ts';
import { type AllocationBody, AllocationSchema } from '../../../protocols/base/records.ts';
import {
  type SlotName,
  SPEC_DEFAULTS,
  slotName,
  type WorkloadSpec,
} from '../../../protocols/base/workload.ts';
import { testSigner } from '../../protocols/ledger/fixtures.ts';
import { eventually } from '../node/eventually.ts';

const SLOT = slotName('default', 'web', 0);

const spec = {
  ...SPEC_DEFAULTS,
  name: 'web',
  image: 'app:1',
  command: ['run-forever'],
  stop_grace_ms: 0,
} as unknown as WorkloadSpec;

function claimed(attempt: number): AllocationBody {
  return {
    node: testSigner(0).id,
    namespace: 'default',
    workload: 'web',
    index: 0,
    generation: 1,
    revision: '0'.repeat(64),
    attempt,
    phase: 'claimed',
    health: 'unknown',
    address: null,
    ports: {},
    resources: spec.resources,
    since_ms: 0,
    until_ms: null,
    reason: null,
    exitCode: null,
    restarts: 0,
  };
}

function setUp(t: Test, given: { runtime?: Partial<Runtime>; host?: MemoryHost } = {}) {
  const runtime = createMemoryRuntime({ time: systemClock, host: given.host ?? new MemoryHost() });
  const created: string[] = [];
  const recorded: AllocationBody[] = [];
  const methods = (['start', 'stop', 'wait', 'list', 'left', 'remove', 'logs', 'exec'] as const).map(
    (name) => [name, (runtime[name] as (...args: unknown[]) => unknown).bind(runtime)],
  );
  const observed = {
    driver: runtime.driver,
    isolatesNetwork: false,
    ...Object.fromEntries(methods),
    create: (plan: Parameters<Runtime['create']>[0]) => {
      created.push(plan.id);
      return runtime.create(plan);
    },
    ...given.runtime,
  } as Runtime;
  const ready = { lowerDirs: [], config: { env: [], entrypoint: [], command: [] } };
  const manager = new InstanceManager({
    runtime: observed,
    network: createHostNetwork({ host: '127.0.0.1' }),
    images: { ensure: async () => ready, has: async () => true } as unknown as Images,
    clock: systemClock,
    log: silentLog,
    nodeName: 'node',
    directory: path.join(t.testdir({}), 'mounts'),
    findImage: () => ({ digest: `sha256:${'1'.repeat(64)}`, body: {} as never }),
    hasSource: () => true,
    record: async (_slot, body) => {
      recorded.push(body);
    },
  });
  t.teardown(() => manager[Symbol.asyncDispose]());
  const running = async () =>
    (await runtime.list()).filter(({ state }) => state === 'running').map(({ id }) => id);
  return { manager, runtime, recorded, running, created };
}

t.test('a release is kept when the instance still waits for the one before it to leave', async (t) => {
  const { manager, running, recorded } = setUp(t);
  manager.claim({ slot: SLOT, spec, body: claimed(1) });
  await eventually('it runs', async () => (await running()).length === 1);
  manager.release(SLOT, 'first');
  manager.claim({ slot: SLOT, spec, body: claimed(2) });
  manager.release(SLOT, 'second');
  await eventually('the slot is free', async () => manager.get(SLOT) === undefined);
  await eventually('its end is recorded', async () =>
    recorded.some(({ attempt, phase }) => attempt === 2 && phase === 'stopped'),
  );
  t.same(await running(), []);
  t.notOk(recorded.some(({ attempt, phase }) => attempt === 2 && phase === 'running'));
});

t.test('of claims in quick succession only the last one starts', async (t) => {
  const { manager, running, created } = setUp(t);
  manager.claim({ slot: SLOT, spec, body: claimed(1) });
  await eventually('it runs', async () => (await running()).length === 1);
  manager.release(SLOT, 'first');
  for (const attempt of [2, 3, 4]) manager.claim({ slot: SLOT, spec, body: claimed(attempt) });
  await eventually('the last one runs', async () => (await running()).includes(containerId(SLOT, 4)));
  t.same(await running(), [containerId(SLOT, 4)]);
  t.same(created, [containerId(SLOT, 1), containerId(SLOT, 4)]);
});

t.test('a long reason is cut, so that the record still fits its schema', async (t) => {
  const start = async () => {
    throw new ShoalError('E_RUNTIME_FAILED', 'x'.repeat(5000));
  };
  const { manager, recorded } = setUp(t, { runtime: { start } });
  manager.claim({ slot: SLOT, spec, body: claimed(1) });
  await eventually('a failure is recorded', async () => recorded.some(({ reason }) => reason !== null));
  for (const body of recorded) t.ok(Value.Check(AllocationSchema, body), `${body.phase} fits`);
});

t.test('a container that cannot be taken up again is replaced, and the others are adopted', async (t) => {
  const host = new MemoryHost();
  const { runtime } = setUp(t, { host });
  const make = async (slot: SlotName, label: string) => {
    const id = containerId(slot, 1);
    await runtime.create({
      id,
      labels: { [LABEL.slot]: slot, [LABEL.attempt]: '1', [LABEL.spec]: label },
      argv: ['run-forever'],
      env: {},
      stopSignal: 'SIGTERM',
      logs_bytes_max: 1 << 20,
    } as never);
    await runtime.start(id);
    return id;
  };
  await make(SLOT, '{"damaged');
  const whole = await make(slotName('default', 'web', 1), JSON.stringify(spec));
  const { manager, running } = setUp(t, { host });
  const body: AllocationBody = { ...claimed(1), phase: 'running', address: '127.0.0.1' };
  await manager.adopt([body, { ...body, index: 1 }], () => spec);
  await eventually('the new one runs', async () => (await running()).includes(containerId(SLOT, 2)));
  t.same((await running()).sort(), [containerId(SLOT, 2), whole].sort());
});
