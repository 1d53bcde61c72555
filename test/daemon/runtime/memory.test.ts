import t from 'tap';
import { createMemoryRuntime, MemoryHost, type MemoryTime } from '../../../daemon/runtime/memory-runtime.ts';
import { containerSpec, type Harness, runToEnd, runtimeConformance } from '../../conformance/runtime.ts';

const wallTime: MemoryTime = {
  now: () => Date.now(),
  after: (delay_ms, act) => {
    const timer = setTimeout(act, delay_ms);
    return () => clearTimeout(timer);
  },
};

function harness(): Harness {
  const host = new MemoryHost();
  return {
    open: async () => createMemoryRuntime({ time: wallTime, host }),
    argv: (steps) => ['script', ...steps],
    lowerDirs: [],
    leftovers: async () => [...host.containers.keys()],
    close: async () => undefined,
  };
}

runtimeConformance('memory', async () => harness());

t.test('time passes only when the injected clock does', async (t) => {
  const timers: { at_ms: number; act: () => void }[] = [];
  let now_ms = 1000;
  const time: MemoryTime = {
    now: () => now_ms,
    after: (delay_ms, act) => {
      timers.push({ at_ms: now_ms + delay_ms, act });
      return () => undefined;
    },
  };
  const runtime = createMemoryRuntime({ time });
  await runtime.create(containerSpec(harness(), 'a', ['sleep:5000', 'exit:3']));
  await runtime.start('a');
  t.match((await runtime.list())[0], { state: 'running', started_ms: 1000 });
  now_ms = timers[0]!.at_ms;
  timers[0]!.act();
  t.same(await runtime.wait('a'), { code: 3, oom: false, at_ms: 6000 });
});

t.test('a script can run out of memory', async (t) => {
  const runtime = createMemoryRuntime({ time: wallTime });
  t.match(await runToEnd(runtime, containerSpec(harness(), 'a', ['oom'])), { code: 137, oom: true });
});
